"""`serve` and `init`: a manifest → a running server; a folder → a project to start from.

In: the path of a manifest, or of a folder. Out: a server until it is told to stop; new files.
Refuses what `check` refuses, and to overwrite a file.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.cli.output import complain, named, show


def serve(
    file: Annotated[
        Path, typer.Argument(help="A manifest.", envvar="ASSEMBLY", show_default=False)
    ],
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when code or a manifest changes.")
    ] = False,
) -> None:
    """Serve a manifest with uvicorn, by its `server` section."""
    import uvicorn  # noqa: PLC0415  # each command loads what it needs

    from assembler.plan.load import load  # noqa: PLC0415

    plan = load(file)
    options: dict[str, Any] = dict(plan.server)
    if reload:
        options |= _reloading({path.parent for path in plan.document.files})
    os.environ["ASSEMBLY"] = str(file)
    if options["workers"] > 1:
        raise typer.Exit(_serve_with_workers(options))
    uvicorn.run("assembler:app", **options)


def _serve_with_workers(options: dict[str, Any]) -> int:
    """Run uvicorn's parent process; return the status of workers that could not start.

    `uvicorn.run` ends with 0 where its workers gave up, so whoever restarts a failed service would
    take it for a stop.
    """
    from uvicorn import Config  # noqa: PLC0415
    from uvicorn.config import STARTUP_FAILURE  # noqa: PLC0415
    from uvicorn.supervisors import Multiprocess  # noqa: PLC0415

    config = Config("assembler:app", **options)
    parent = Multiprocess(config, sockets=[config.bind_socket()])
    parent.run()
    failed = any(process.exitcode == STARTUP_FAILURE for process in parent.processes)
    return STARTUP_FAILURE if failed else 0


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write.", show_default="here")
    ] = Path(),
) -> None:
    """Write a starting project: a commented manifest, a router, a test; nothing is overwritten."""
    from assembler.cli.init.files import write_starter  # noqa: PLC0415

    for path in write_starter(folder):
        show(named(path))
    prefix = f"cd {folder} && " if folder != Path() else ""
    show(f"\nserve it:  {prefix}assembler serve manifests/dev.yaml --reload")
    show(f"test it:   {prefix}python -m pytest    (needs pytest and httpx2)")


def _reloading(folders: Iterable[Path]) -> dict[str, Any]:
    """Let uvicorn watch the manifests as well; only its watchfiles reloader takes patterns."""
    try:
        import watchfiles  # noqa: F401, PLC0415
    except ImportError:
        complain("note: manifests are watched with `pip install 'fastapi-assembler[server]'`")
        return {"reload": True, "workers": 1}
    watched = sorted({str(folder.resolve()) for folder in folders} | {str(Path.cwd())})
    patterns = ["*.py", "*.yaml", "*.yml"]
    return {"reload": True, "workers": 1, "reload_includes": patterns, "reload_dirs": watched}
