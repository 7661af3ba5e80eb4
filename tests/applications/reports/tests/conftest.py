"""The application that is tested: by hand, and the manifest's where `ASSEMBLY` names one."""

import os

import pytest
from fastapi import FastAPI

os.environ["REPORTS_JOBS"] = "false"  # a clock of a module runs in one loop only
BUILDERS = ["by hand", *filter(None, [os.environ.get("ASSEMBLY")])]


@pytest.fixture(params=BUILDERS)
def app(request: pytest.FixtureRequest) -> FastAPI:
    if request.param != "by hand":
        import assembler

        return assembler.build(assembler.load(request.param))
    from app.main import create_app

    return create_app()
