"""The variable `ASSEMBLY` → the application that a server asks for.

In: the environment. Out: the FastAPI application, or an end of the process with status 3 and the
diagnostics on standard error: servers take that status as «do not try again», where any other
makes uvicorn's and gunicorn's parents start the next worker for ever. Shows no Python frames.
"""

import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from fastapi import FastAPI

STARTUP_FAILURE = 3


def app_from_environment() -> "FastAPI":
    """Build the manifest that `ASSEMBLY` names; ends the process where that is not possible.

    The cyclic garbage collector rests meanwhile: what is imported and built stays for the life of
    the process, and looking through it again and again takes a tenth of the time to the first
    answer. What was built is then left out of later collections, too.
    """
    path = os.environ.get("ASSEMBLY")
    if not path:
        _exit(
            "error: the variable ASSEMBLY names no manifest\n"
            "  = help: ASSEMBLY=manifests/dev.yaml uvicorn assembler:app"
        )
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return _built(path)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def work(channel: "Connection") -> None:
    """Be a worker of `assembler serve`: its process's target, which is light to import."""
    gc.disable()  # until all is built, as above; the worker enables it then
    from assembler.application.worker import work as be_worker  # noqa: PLC0415  # imported while the collector rests

    be_worker(channel)


def _built(path: str) -> "FastAPI":
    from assembler.application.build import build  # noqa: PLC0415  # imported while the collector rests
    from assembler.diagnostics.errors import AssemblerError, ManifestError  # noqa: PLC0415  # as above
    from assembler.plan.load import load  # noqa: PLC0415  # as above
    from assembler.review.report import as_text  # noqa: PLC0415  # as above

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
