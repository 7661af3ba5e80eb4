"""`reload`: a server of ours that runs → the same one with what its manifest says now.

In: the manifest, or a socket or process number. Out: what the change means, as `diff` tells it, and
what became of it: status 0 where it is live, 1 where it was refused, by the manifest's faults, by
`--fail-on` or by a worker that failed; 2 where nobody serves, or the call is wrong. Runs nothing of
the manifest itself: the server tries it in a process apart.
"""

import os
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, complain, named, show, wants_color, warn
from assembler.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from assembler.plan.snapshot import Snapshot
    from assembler.review.finding import Comparison
    from assembler.runtime.supervision.control import Client


class ReloadGate(StrEnum):
    """The mildest grade of a change that is refused."""

    loosened = "loosened"
    review = "review"
    behaviour = "behaviour"
    tightened = "tightened"
    cosmetic = "cosmetic"
    never = "never"


def reload(
    file: Annotated[
        Path | None,
        typer.Argument(help="The manifest that is served.", envvar="ASSEMBLY", show_default=False),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="Go back to what was live before."),
    ] = None,
    fail_on: Annotated[
        ReloadGate, typer.Option(help="Refuse a change from this grade on, with status 1.")
    ] = ReloadGate.never,
    socket: Annotated[
        Path | None, typer.Option(help="The server's socket, instead of looking for it.")
    ] = None,
    pid: Annotated[int | None, typer.Option(help="The server's process number.")] = None,
) -> None:
    """Let what a manifest says now go live in the server that runs it, or leave all as it is."""
    client = _server(file, socket, pid)
    running = client.snapshot()
    wanted = _kept(client, to) if to is not None else _on_disk(client)
    comparison = _compared(running, wanted)
    _show(comparison)
    worst = comparison.worst
    if worst is not None and fail_on is not ReloadGate.never and worst >= _grade(fail_on):
        complain(f"error: not reloaded: `--fail-on {fail_on.value}`")
        raise typer.Exit(INVALID)
    _refuse_environment(client, wanted)
    if to is not None:
        result = client.reload(to=wanted.digest)
    else:
        result = client.reload(expected=wanted.digest)
    if result["status"]:
        warn(result["text"])
        complain(f"not reloaded: {running.short} goes on")
        raise typer.Exit(result["status"])
    show(f"reloaded: {result['digest'][:12]} is live, {running.short} was before")


def _server(file: Path | None, socket: Path | None, pid: int | None) -> "Client":
    from assembler.runtime.supervision.control import connect, find, runtime_folders

    if socket is not None:
        client = connect(socket)
        found = [] if client is None else [client]
        where = f"behind `{named(socket)}`"
    elif file is None and pid is None:
        raise UsageError("name the manifest that is served, or its `--socket` or `--pid`")
    else:
        written = None if file is None else _runtime_dir(file)
        folders = runtime_folders(written, os.environ)
        if written:  # the manifest that runs may say nothing of it yet
            folders += runtime_folders(None, os.environ)
        found = find(folders, manifest=file, pid=pid)
        what = f"`{named(file)}`" if file is not None else f"as process {pid}"
        where = f"{what}, as far as {', '.join(f'`{named(one)}`' for one in folders)} tells"
    if not found:
        start = f"; `assembler serve {named(file)}` does" if file is not None else ""
        raise UsageError(f"nobody serves {where}{start}")
    if len(found) > 1:
        told = ", ".join(f"--pid {one.status['pid']}" for one in found)
        raise UsageError(f"{len(found)} servers serve {where}: choose by {told}")
    [client] = found
    if file is not None and client.path != Path(os.path.abspath(file)):  # noqa: PTH100  # links stay
        raise UsageError(f"that server serves `{named(client.path)}`, not `{named(file)}`")
    return client


def _runtime_dir(file: Path) -> str | None:
    """Return the folder that the manifest names. Raises as reading it does."""
    from assembler.diagnostics.secrets import Secrets
    from assembler.document.interpolation import Resolver
    from assembler.document.merge import load_document
    from assembler.document.nodes import ScalarNode, locate

    root = load_document(file).root  # a file with faults cannot go live, whoever serves it
    node, _ = locate(root, ("server", "runtime_dir"))
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return None
    if "${settings." in node.value:
        raise UsageError("`server.runtime_dir` comes from settings: name the server by `--socket`")
    return str(Resolver(os.environ, None, Secrets()).data(node))


def _on_disk(client: "Client") -> "Snapshot":
    from assembler.plan.snapshot import take_snapshot

    return take_snapshot(client.path, {})


def _kept(client: "Client", digest: str) -> "Snapshot":
    kept = [one for one in client.status["snapshots"] if one.startswith(digest)]
    if len(kept) != 1:
        told = ", ".join(one[:12] for one in client.status["snapshots"])
        what = "is no snapshot" if not kept else "means several snapshots"
        raise UsageError(f"`{digest}` {what} of that server: it has {told}")
    return client.snapshot(kept[0])


def _compared(running: "Snapshot", wanted: "Snapshot") -> "Comparison":
    from assembler.review.diff.pairs import compare_shelves

    name = running.name(running.path)
    found = compare_shelves(name, running, wanted, datetime.now(UTC))
    return replace(found, old_name=f"{name} as it runs", new_name=name)


def _show(comparison: "Comparison") -> None:
    from assembler.review.diff.text import as_text

    width = shutil.get_terminal_size((100, 24)).columns
    show(as_text([comparison], [], color=wants_color(sys.stdout), width=width))


def _grade(gate: ReloadGate) -> int:
    from assembler.review.finding import Grade

    return Grade[gate.value]


def _refuse_environment(client: "Client", wanted: "Snapshot") -> None:
    """Refuse variables that the caller has set otherwise: a reload would not bring them."""
    from assembler.document.interpolation_checks import mentions
    from assembler.document.merge import load_document

    names = {
        reference.name: None
        for mention in mentions(load_document(wanted.path, wanted).root)
        for reference, _ in mention.references("environment")
    }
    differing = client.differing(names, os.environ)
    if not differing:
        return
    told = ", ".join(f"`{name}`" for name in differing)
    complain(f"error: the server runs with another {told} than is set here")
    complain("  = help: a reload keeps the server's environment: stop it, and start it again")
    raise typer.Exit(INVALID)
