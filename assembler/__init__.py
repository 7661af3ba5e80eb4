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

    from assembler.application.build import build as build
    from assembler.aws_lambda import Instance
    from assembler.diagnostics.errors import AssemblerError as AssemblerError
    from assembler.diagnostics.errors import Diagnostic as Diagnostic
    from assembler.diagnostics.errors import ManifestError as ManifestError
    from assembler.diagnostics.errors import StartupError as StartupError
    from assembler.diagnostics.errors import UsageError as UsageError
    from assembler.plan.load import Plan as Plan
    from assembler.plan.load import load as load
    from assembler.runtime.injection import Resource as Resource
    from assembler.runtime.report import Assembly as Assembly
    from assembler.runtime.scheduler.context import JobContext as JobContext

    app: FastAPI
    handler: Instance

_HOMES = {
    "AssemblerError": "assembler.diagnostics.errors",
    "Assembly": "assembler.runtime.report",
    "Diagnostic": "assembler.diagnostics.errors",
    "JobContext": "assembler.runtime.scheduler.context",
    "ManifestError": "assembler.diagnostics.errors",
    "Plan": "assembler.plan.load",
    "Resource": "assembler.runtime.injection",
    "StartupError": "assembler.diagnostics.errors",
    "UsageError": "assembler.diagnostics.errors",
    "build": "assembler.application.build",
    "load": "assembler.plan.load",
}
__all__ = [*_HOMES]  # noqa: PLE0604  # the same list of strings


def __getattr__(name: str) -> Any:
    """Give a public name its module, and `app` and `handler` their manifest (PEP 562)."""
    value: Any
    if name == "app":
        value = import_module("assembler.asgi").app_from_environment()
    elif name == "handler":
        value = import_module("assembler.aws_lambda").handler_from_environment()
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
