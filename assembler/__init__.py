"""Assembles a FastAPI application from a YAML manifest.

    plan = assembler.load("manifests/test.yaml", override={"resources.db.with.url": "sqlite://"})
    app = assembler.build(plan, resources={"cache": my_cache})

`assembler:app` is the application of the manifest that the variable `ASSEMBLY` names, built when a
server asks for it; `assembler.handler` is the same for AWS Lambda. Names are imported when they are
used: nothing happens at import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assembler.application import build as build
    from assembler.errors import AssemblerError as AssemblerError
    from assembler.errors import Diagnostic as Diagnostic
    from assembler.errors import ManifestError as ManifestError
    from assembler.errors import StartupError as StartupError
    from assembler.errors import UsageError as UsageError
    from assembler.plan import Plan as Plan
    from assembler.plan import load as load
    from assembler.report import Assembly as Assembly
    from assembler.scheduler.context import JobContext as JobContext
    from assembler.serverless import Instance

    app: FastAPI
    handler: Instance

_HOMES = {
    "AssemblerError": "assembler.errors",
    "Assembly": "assembler.report",
    "Diagnostic": "assembler.errors",
    "JobContext": "assembler.scheduler.context",
    "ManifestError": "assembler.errors",
    "Plan": "assembler.plan",
    "StartupError": "assembler.errors",
    "UsageError": "assembler.errors",
    "build": "assembler.application",
    "load": "assembler.plan",
}
__all__ = [*_HOMES]  # noqa: PLE0604  # the same list of strings


def __getattr__(name: str) -> Any:
    """Give a public name its module, and `app` and `handler` their manifest (PEP 562)."""
    value: Any
    if name == "app":
        value = import_module("assembler.serve").app_from_environment()
    elif name == "handler":
        value = import_module("assembler.serverless").handler_from_environment()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
