"""`serve`: a manifest → a running server, until it is told to stop.

In: the path of a manifest. Out: the server, and the status of its end. Refuses what `check` refuses.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli.output import complain

if TYPE_CHECKING:
    from uvicorn import Config


def serve(
    file: Annotated[
        Path, typer.Argument(help="A manifest.", envvar="ASSEMBLY", show_default=False)
    ],
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when code or a manifest changes.")
    ] = False,
) -> None:
    """Serve a manifest with uvicorn, by its `server` section."""
    from assembler.plan.load import load

    plan = load(file)
    options: dict[str, Any] = dict(plan.server)
    if reload:
        options |= _reloading({path.parent for path in plan.document.files})
    os.environ["ASSEMBLY"] = str(file)
    config = _config(options, plan.manifest.server.max_header_bytes)
    if status := _serve(config):
        raise typer.Exit(status)


def _config(options: dict[str, Any], max_header_bytes: int | None) -> "Config":
    if max_header_bytes is not None:
        from assembler.runtime.header_limit import limited

        return limited(max_header_bytes, options)
    from uvicorn import Config

    return Config("assembler:app", **options)


def _serve(config: "Config") -> int:
    """Bind, then start what listens; return the status of a server that could not start.

    `uvicorn.run` would know of a port that is in use once the application has started, and ends
    with 0 where its workers gave up, so that whoever restarts a failed service takes it for a stop.
    """
    from uvicorn import Server
    from uvicorn.config import STARTUP_FAILURE
    from uvicorn.importer import import_from_string
    from uvicorn.supervisors import ChangeReload, Multiprocess

    from assembler.runtime.listener import ListeningServer, bind, tell

    sockets = bind(config)
    is_started = True
    try:
        if config.should_reload or config.workers > 1:
            if sockets:
                tell(config, sockets)
            else:
                sockets = [config.bind_socket()]
            if config.should_reload:
                ChangeReload(config, target=Server(config).run, sockets=sockets).run()
                return 0
            parent = Multiprocess(config, sockets=sockets)
            parent.run()
            is_started = all(child.exitcode != STARTUP_FAILURE for child in parent.processes)
        else:
            import_from_string("assembler:app")  # ends the process where it cannot be built
            server = ListeningServer(config)
            with suppress(KeyboardInterrupt):
                server.run(sockets)
            is_started = server.started
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
