"""`drift`: a manifest, and the processes that run it → whether they run what it says.

In: the manifest, and the scheduler's store or the address of one instance. Out: what differs, as
`diff` tells it: of the plan, of the SQL, of variables and `.env` files by their names, of the loaded
code; and whether replicas differ among themselves. Status 0 where all is the same, 1 where it
differs, 2 where nobody could be asked: that is never the same. Runs no code of the manifest, but
what opens the store.
"""

import asyncio
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli.output import INVALID, USAGE, results_apart, show, wants_color, warn
from assembler.diagnostics.errors import AssemblerError, ManifestError, UsageError, raise_faults
from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import one_line
from assembler.review import report as reports

if TYPE_CHECKING:
    from assembler.plan.fingerprint import Fingerprint, Replicas
    from assembler.plan.load import Plan
    from assembler.review.finding import Comparison

_ASK_SECONDS = 10.0
_MOST_BYTES = 64 * 1024 * 1024
_MOST_TOLD = 20  # modules, of one group of instances


def drift(
    file: Annotated[
        Path, typer.Argument(help="A manifest.", envvar="ASSEMBLY", show_default=False)
    ],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Ask one instance, by the address of its health pages, such as http://10.0.0.7:8000/health; without it the scheduler's store is asked.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="OPERATIONS_TOKEN", help="Of the details.", show_envvar=True),
    ] = None,
) -> None:
    """Tell whether what runs is what a manifest says: status 1 where not, 2 where nobody knows."""
    try:
        differs = _told(file, _from_url(url, token) if url is not None else _from_store(file))
    except ManifestError as error:
        warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
        raise typer.Exit(USAGE) from None
    if differs:
        raise typer.Exit(INVALID)


def _told(file: Path, running: "list[tuple[str, Fingerprint]]") -> bool:
    """Print what there is to say; return whether anything differs."""
    from assembler.plan.fingerprint import grouped

    groups = grouped(running)
    differs = len(groups) > 1
    for group in groups:
        lines = list(_differences(file, group))
        differs = differs or bool(lines)
        names = ", ".join(one_line(name) for name in group.instances)
        digest = (group.fingerprint.digest or "")[:12]
        show(f"{names}  runs {digest}{'' if lines else ', as the manifest says'}")
        for line in lines:
            show(line)
    if len(groups) > 1:
        show(f"\n{len(groups)} groups of instances run different things")
    return differs


# --- who runs


def _from_url(url: str, token: str | None) -> "list[tuple[str, Fingerprint]]":
    from assembler.plan.fingerprint import read_fingerprint

    if not url.startswith(("http://", "https://")):
        raise UsageError(f"`{one_line(url)}` is no address of HTTP")
    address = url.rstrip("/")
    if not address.endswith("/details"):
        address += "/details"
    request = urllib.request.Request(address)  # noqa: S310  # its scheme was looked at
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=_ASK_SECONDS) as answer:  # noqa: S310  # as above
            said = json.loads(answer.read(_MOST_BYTES))["instance"]
        if said is None:
            raise UsageError(f"{one_line(address)} does not know yet what it runs: ask again")
        return [(str(said["instance"]), read_fingerprint(said))]
    except urllib.error.HTTPError as error:
        remedy = ": give its `--token`" if error.code in {401, 403} else ""
        raise UsageError(f"{one_line(address)} answers {error.code}{remedy}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or "it does not say what it runs"
        raise UsageError(f"cannot ask {one_line(address)}: {reason}") from error


def _from_store(file: Path) -> "list[tuple[str, Fingerprint]]":
    from assembler.plan.load import load

    with results_apart():
        plan = load(file)
        name = plan.manifest.scheduler.store_id
        if name is None:
            raise UsageError(
                "nobody can be asked: the scheduler has no `store`; ask one instance by `--url`"
            )
        return asyncio.run(_ask_store(plan, name))


async def _ask_store(plan: "Plan", resource: str) -> "list[tuple[str, Fingerprint]]":
    try:
        rows = await _rows(plan, resource)
    except AssemblerError:
        raise
    except TimeoutError:
        within = f"does not answer within {_ASK_SECONDS:g} s"
        raise UsageError(f"the store `{resource}` {within}") from None
    except Exception as error:  # a store may raise anything; it is not «the same»
        reason = one_line(plan.secrets.scrub(failure_of(error)))
        raise UsageError(f"the store `{resource}` does not answer: {reason}") from error
    alive = list(_alive(rows))
    if not alive:
        from assembler.plan.sections.scheduler import service_name

        service = one_line(service_name(plan.manifest))
        raise UsageError(f"no instance of `{service}` has said lately what it runs")
    return alive


def _alive(rows: Iterable[tuple[int, str]]) -> "Iterator[tuple[str, Fingerprint]]":
    from assembler.plan.fingerprint import read_fingerprint
    from assembler.runtime.registry import ALIVE_MS

    for age, said in rows:
        with suppress(
            ValueError, KeyError, TypeError, AttributeError
        ):  # of another version of ours
            row = json.loads(said)
            if age <= ALIVE_MS:
                yield str(row["instance"]), read_fingerprint(row)


async def _rows(plan: "Plan", resource: str) -> list[tuple[int, str]]:
    """Open the store's resource, and those that it names, for one question."""
    from fastapi import FastAPI

    from assembler.plan.sections.scheduler import service_name
    from assembler.runtime.instances import Objects, needed_for
    from assembler.runtime.lifespan import Lifespan
    from assembler.runtime.report import Assembly
    from assembler.runtime.scheduler.stores import store_of

    objects = Objects(plan, FastAPI())
    openings = objects.openings(only=needed_for(plan, [resource]))
    raise_faults(objects.faults)
    lifespan = Lifespan(plan, Assembly(plan.name, plan.hash), openings, [], [], [], is_told=False)
    async with asyncio.timeout(_ASK_SECONDS):
        await lifespan.start()
    try:
        store: Any = store_of(objects.resources[resource])
        if not callable(getattr(store, "instances", None)):
            raise UsageError(f"the store `{resource}` keeps no instances: ask one by `--url`")
        async with asyncio.timeout(_ASK_SECONDS):
            rows: list[tuple[int, str]] = await store.instances(service_name(plan.manifest))
            return rows
    finally:
        await lifespan.stop()


# --- what differs


def _differences(file: Path, group: "Replicas") -> Iterator[str]:
    from assembler.plan.fingerprint import fingerprint
    from assembler.plan.snapshot import take_snapshot

    snapshot = take_snapshot(file, os.environ)
    own = fingerprint(
        group.fingerprint.service,
        snapshot.digest,
        *snapshot.document_and_sql(),
        os.environ,
        {},
        group.fingerprint.files,
    )
    if own.manifest != group.fingerprint.manifest:
        yield from _of_plans(file, group.fingerprint, own)
    yield from _of_hashes("startup SQL", group.fingerprint.sql, own.sql)
    yield from _of_environment(group.fingerprint, own)
    yield from _of_code(group.fingerprint.modules)


def _of_plans(file: Path, running: "Fingerprint", own: "Fingerprint") -> Iterator[str]:
    """Tell what differs as `diff` does; what means the same is no difference."""
    from assembler.plan.allow_list import ImportList
    from assembler.plan.snapshot import Snapshot
    from assembler.review.diff.pairs import compare_shelves
    from assembler.review.diff.text import as_text
    from assembler.review.finding import Grade

    def shelf(text: str, name: str) -> Snapshot:
        path = file.with_name(name)
        key = os.path.abspath(path)  # noqa: PTH100  # links stay
        return Snapshot(path, {key: text.encode()}, ImportList(None, None), {})

    sides = shelf(running.manifest, f"{file.name} as it runs"), shelf(own.manifest, file.name)
    found: Comparison = compare_shelves(file.name, *sides, datetime.now(UTC))
    if any(finding.grade > Grade.cosmetic for finding in found.findings):
        width = shutil.get_terminal_size((100, 24)).columns
        yield as_text([found], [], color=wants_color(sys.stdout), width=width)


def _of_hashes(what: str, running: Mapping[str, str], own: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*running, *own]):
        if running.get(name) != own.get(name):
            how = "does not run" if name not in running else "is gone" if name not in own else ""
            yield f"  {what} `{one_line(name)}` {how or 'is another text'}"


def _of_environment(running: "Fingerprint", own: "Fingerprint") -> Iterator[str]:
    from assembler.plan.fingerprint import KEY_VARIABLE

    reason = None
    if running.environment is None or own.environment is None:
        reason = f"is not set {'where it runs' if running.environment is None else 'here'}"
    elif running.environment.get(KEY_VARIABLE) not in {None, own.environment[KEY_VARIABLE]}:
        reason = "is another one where it runs"
    if reason is not None or running.environment is None or own.environment is None:
        sys.stderr.write(f"note: the environment is not compared: `{KEY_VARIABLE}` {reason}\n")
        return
    common = running.environment.keys() & own.environment.keys()
    changed = [name for name in common if running.environment[name] != own.environment[name]]
    for name in sorted(changed):
        yield f"  variable `{one_line(name)}` is another one where it runs"
    for name, theirs in running.files.items():
        if theirs != own.files[name]:
            lacking = "is not here" if own.files[name] is None else "is not where it runs"
            how = "is another text where it runs" if theirs and own.files[name] else lacking
            yield f"  file `{one_line(name)}` {how}"


def _of_code(running: Mapping[str, str]) -> Iterator[str]:
    """Compare the code that is loaded with the sources here, which are found without an import."""
    from assembler.plan.fingerprint import source_hash
    from assembler.plan.static.module import Source, find

    found: dict[str, Source | None] = {}

    def source(name: str) -> Source | None:
        """Return the module as it lies here, None where it does not."""
        if name not in found:
            parent = name.rpartition(".")[0]
            above = source(parent) if parent else None
            is_lost = bool(parent) and (above is None or above.folders is None)
            found[name] = (
                None if is_lost else find(name, None if above is None else above.folders, None)
            )
        return found[name]

    differing = []
    for name, code in running.items():
        here = source(name)
        file = None if here is None else here.file
        if file is None or source_hash(Path(file)) != code:
            differing.append((name, file is None))
    for name, is_gone in differing[:_MOST_TOLD]:
        yield f"  module `{one_line(name)}` {'is not here' if is_gone else 'is another text where it runs'}"
    if len(differing) > _MOST_TOLD:
        yield f"  and {len(differing) - _MOST_TOLD} more modules"
