"""`serve`: a manifest → a running server, until it is told to stop.

In: the path of a manifest. Out: the server, and the status of its end. Refuses what `check` refuses.
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli.output import complain, warn
from assembler.diagnostics.errors import AssemblerError

if TYPE_CHECKING:
    from assembler.runtime.supervision.process import Failure


def serve(
    file: Annotated[
        Path, typer.Argument(help="A manifest.", envvar="ASSEMBLY", show_default=False)
    ],
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when code or a manifest changes.")
    ] = False,
) -> None:
    """Serve a manifest with uvicorn, by its `server` section; SIGHUP and `reload` let edits go live."""
    if reload or os.name != "posix":  # elsewhere no process can hand a socket over as it is needed
        status = _serve_from_disk(file, reloads=reload)
    else:
        status = _serve_snapshots(file)
    if status:
        raise typer.Exit(status)


def _serve_snapshots(file: Path) -> int:
    """Serve what the manifest is now, whatever becomes of it on the disk; return the status."""
    from assembler.asgi import work
    from assembler.runtime.supervision.process import Failure, spawn

    environment = dict(os.environ)
    first = spawn(work)  # imports its part while this process reads
    try:
        from assembler.plan.snapshot import take_snapshot
        from assembler.runtime.supervision.control import listening
        from assembler.runtime.supervision.supervisor import Supervisor

        take = partial(take_snapshot, file, environment)
        supervisor = Supervisor(take(), work, take, _failed, first)
    except BaseException:
        first.discard()
        raise
    end = asyncio.run(supervisor.run(partial(listening, file)))
    if isinstance(end, Failure):
        if not end.is_told:
            warn(end.text)
        return end.status
    if supervisor.stopped_by == signal.SIGTERM and supervisor.is_alone:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # as uvicorn ends with one process
    return end


def _failed(error: AssemblerError) -> "Failure":
    from assembler.application.worker import failure_to_start

    return failure_to_start(error)


def _serve_from_disk(file: Path, *, reloads: bool) -> int:
    """Serve by uvicorn's own parents, whose workers read the disk: for development, and Windows.

    `uvicorn.run` would know of a port that is in use once the application has started, and ends
    with 0 where its workers gave up, so that whoever restarts a failed service takes it for a stop.
    """
    from uvicorn import Server
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.supervisors import ChangeReload, Multiprocess

    from assembler.plan.load import load
    from assembler.runtime.listener import bind_any, configured, tell

    plan = load(file)
    options: dict[str, Any] = dict(plan.server)
    if reloads:
        options |= _reloading({path.parent for path in plan.document.files})
    os.environ["ASSEMBLY"] = str(file)
    config = configured(options, plan.manifest.server.max_header_bytes)
    sockets = bind_any(config)
    try:
        tell(config, sockets)
        if config.should_reload:
            ChangeReload(config, target=Server(config).run, sockets=sockets).run()
            return 0
        parent = Multiprocess(config, sockets=sockets)
        parent.run()
        is_started = all(child.exitcode != STARTUP_FAILURE for child in parent.processes)
    finally:
        if config.uds:
            Path(config.uds).unlink(missing_ok=True)
    return 0 if is_started else STARTUP_FAILURE


def _reloading(folders: Iterable[Path]) -> dict[str, Any]:
    """Let uvicorn watch the manifests as well; only its watchfiles reloader takes patterns."""
    try:
        import watchfiles  # noqa: F401  # whether it is installed
    except ImportError:
        complain("note: manifests are watched with `pip install 'fastapi-assembler[server]'`")
        return {"reload": True, "workers": 1}
    watched = sorted({str(folder.resolve()) for folder in folders} | {str(Path.cwd())})
    patterns = ["*.py", "*.yaml", "*.yml"]
    return {"reload": True, "workers": 1, "reload_includes": patterns, "reload_dirs": watched}
