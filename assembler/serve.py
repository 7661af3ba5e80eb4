"""The variable `ASSEMBLY` → the application that a server asks for.

In: the environment. Out: the FastAPI application, or an end of the process with status 3 and the
diagnostics on standard error: servers take that status as «do not try again», where any other
makes uvicorn's and gunicorn's parents start the next worker for ever. Shows no Python frames.
"""

import os
import sys
from typing import NoReturn

from fastapi import FastAPI

from assembler.application import build
from assembler.errors import AssemblerError, ManifestError
from assembler.plan import load
from assembler.review.diagnostics import as_text

STARTUP_FAILURE = 3


def app_from_environment() -> FastAPI:
    """Build the manifest that `ASSEMBLY` names; ends the process where that is not possible."""
    path = os.environ.get("ASSEMBLY")
    if not path:
        _exit(
            "error: the variable ASSEMBLY names no manifest\n  = help: ASSEMBLY=manifests/dev.yaml uvicorn assembler:app"
        )
    try:
        return build(load(path))
    except ManifestError as error:
        _exit(as_text(error.diagnostics, color=sys.stderr.isatty()))
    except AssemblerError as error:
        _exit(f"error: {error}")


def _exit(text: str) -> NoReturn:
    sys.stderr.write(f"{text}\n")  # one write: workers share the stream
    sys.stderr.flush()
    raise SystemExit(STARTUP_FAILURE)
