"""Whose a line is: the author's own, or a library's, wherever that is installed."""

import os
import sysconfig
from pathlib import Path

import pytest

import assembler
from assembler.diagnostics.exceptions import is_users


@pytest.mark.parametrize(
    "file",
    [
        os.__file__,
        pytest.__file__,
        assembler.__file__,
        sysconfig.get_path("purelib") + "/fastapi/applications.py",
        "/srv/me/.local/lib/python3.11/site-packages/fastapi/applications.py",  # `pip install --user`
        "/usr/lib/python3/dist-packages/starlette/routing.py",  # Debian's own
        "/base/lib/python3.12/site-packages/a.py",  # below a virtual environment
        "<string>",
        "<frozen importlib._bootstrap>",
    ],
)
def test_what_is_installed_is_nobodys_own(file: str) -> None:
    assert not is_users(file)


@pytest.mark.parametrize(
    "file", ["app/main.py", "/srv/shop/main.py", "/srv/my-site-packages/a.py", "/srv/packages/b.py"]
)
def test_all_else_is_the_authors(file: str, tmp_path: Path) -> None:
    assert is_users(file)
    assert is_users(f"{tmp_path}/{file}")
