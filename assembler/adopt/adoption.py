"""`module:app` → a manifest that says the same, proved by `check`, and what became of every call.

In: an application, where its manifest shall stand, an environment. Out: an `Adoption`: the files, each
recorded call as `written`, `bridged` or `refused`, what to set and what was noticed. The steps are
those of this module, in order: record, vary, merge, write, check. Refuses to write over any file.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assembler.adopt.assembly_module import AssemblyModule
from assembler.adopt.environment import Variation, untried, unvaried, variations
from assembler.adopt.guarded_process import (
    ForeignCodeError,
    Guard,
    Observation,
    Outcome,
    run_guarded,
)
from assembler.adopt.manifest_text import ManifestWriter, outcomes
from assembler.adopt.merge import AdoptedCall, Merged, VariedRun, merge
from assembler.diagnostics.errors import AssemblerError, ManifestError, UsageError
from assembler.diagnostics.secrets import is_secret
from assembler.diagnostics.span import one_line
from assembler.plan.allow_list import read_import_list
from assembler.review import report as reports

_MOST_SWITCHES = 6
_MOST_TRIES = 10
_AT_ONCE = 2
_LEAST_SECRET = 6  # characters of a value that is looked for in what is written

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class AdoptionRequest:
    """What to adopt, and where to."""

    target: str
    output: Path
    environment: Mapping[str, str] = field(repr=False)
    is_factory: bool = False
    prefer: str | None = None  # the package whose components replace layers of others


@dataclass(frozen=True, slots=True)
class Adoption:
    """What was written, and what is to be known of it."""

    request: AdoptionRequest
    files: Mapping[Path, str]
    items: tuple[AdoptedCall, ...]
    needs: Mapping[str, str]  # the place of each literal that a variable stands for now
    notes: tuple[Observation, ...]
    remarks: tuple[str, ...]
    claims: tuple[str, ...] = ()  # comments that say another order than the layers have
    faults: str = ""  # what `check` says, drawn

    @property
    def outcomes(self) -> dict[str, int]:
        """How many calls were `written`, `bridged`, `refused`; their sum is all that was recorded."""
        return outcomes(self.items)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The rules of `equal` that cover what the manifest means to do otherwise."""
        items = [item for item in self.items if item.outcome != "refused"]
        kinds = {item.kind for item in items}
        rules = ["control-characters", "error-answers"]
        if any(item.kind == "handler" and item.what == "500" for item in items):
            rules.append("status-500")
        if any(item.runs_own_code for item in items):
            rules.append("made-once")
        is_whole = any(item.kind == "app" and item.section == "routes" for item in items)
        if kinds & {"layer", "mount"} or is_whole:
            rules.append("layer-exceptions")
        if is_whole:
            rules.append("mounted-lifespans")
        if "mount" in kinds:
            rules += ["mount-slash", "mounted-lifespans"]
        if any(item.section == "jobs" and item.entry for item in self.items):
            rules.append("manifest-jobs")
        return tuple(sorted({*rules}))

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing was refused, and the manifest passes its check."""
        return not self.outcomes["refused"] and not self.faults


def adopt(request: AdoptionRequest, progress: Progress = lambda text: None) -> Adoption:
    """Adopt an application; raises `UsageError` where a file stands in the way."""
    refuse_to_overwrite(request.output)
    progress("recording")
    outcome = _recorded(request, request.environment)
    first = VariedRun(Variation({}), outcome.value, request.environment)
    progress("recording again, with other values")
    others, remarks = _other_runs(request, first)
    merged = merge(first, others, read_import_list(request.output))
    progress("writing")
    files, items = _texts(request, first, merged)
    _refuse_secrets(files, first, merged)
    _write(files)
    progress("checking")
    environments = {request.output: request.environment} | {
        _overlay_path(request, run.variation.switch): run.environment for run in others
    }
    found = (
        _checked(request, merged, path, environments[path])
        for path in files
        if path in environments
    )
    faults = "\n\n".join(filter(None, found))
    progress("")
    return Adoption(
        request=request,
        files=files,
        items=tuple(items),
        needs={name: place for name, (_, place) in merged.needs.items()},
        notes=outcome.notes,
        remarks=(*remarks, *merged.remarks),
        claims=tuple(outcome.value["claims"]),
        faults=faults,
    )


def refuse_to_overwrite(output: Path) -> None:
    """Raise `UsageError` where the file is there already."""
    if output.exists() or output.is_symlink():
        raise UsageError(
            f"`{one_line(output.as_posix())}` is there already, and nothing is written over: name another by `-o`"
        )


# --- record


def _recorded(request: AdoptionRequest, environment: Mapping[str, str]) -> Outcome:
    argument = {
        "target": request.target,
        "factory": request.is_factory,
        "prefer": request.prefer,
    }
    return run_guarded("assembler.adopt.inventory:take", argument, environment=environment)


def _other_runs(request: AdoptionRequest, first: VariedRun) -> tuple[list[VariedRun], list[str]]:
    """Record once more for values that may change, and once for each switch."""
    main, *switches = variations(first.taken, request.environment)
    remarks = []
    as_they_are = unvaried(first.taken, request.environment)
    if as_they_are:
        names = ", ".join(f"`{name}`" for name in as_they_are)
        remarks.append(f"seen with the value that it has here, or without one, alone: {names}")
    remarks += untried(first.taken, request.environment)
    if len(switches) > _MOST_SWITCHES:
        names = ", ".join(f"`{each.switch}`" for each in switches[_MOST_SWITCHES:])
        remarks.append(f"not tried the other way round: {names}")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        turned = pool.map(lambda each: _run(request, each), switches[:_MOST_SWITCHES])
        varied = _varied(request, main, remarks)
        found = [*varied, *turned]
    for each, run in zip(switches, found[len(varied) :], strict=False):
        if run is None:
            remarks.append(f"`{each.switch}` could not be turned: the application fails then")
    return [run for run in found if run is not None], remarks


def _run(request: AdoptionRequest, variation: Variation) -> VariedRun | None:
    environment = {**request.environment, **variation.values}
    try:
        taken = _recorded(request, environment).value
    except ForeignCodeError:
        return None
    return VariedRun(variation, taken, environment)


def _varied(request: AdoptionRequest, variation: Variation, remarks: list[str]) -> list[VariedRun]:
    """Record with as many other values as the application takes."""
    names, tries = list(variation.values), 0
    waiting, good, bad = [names], list[str](), list[str]()
    while waiting and names:
        group = waiting.pop(0)
        tries += 1
        values = {name: variation.values[name] for name in [*good, *group]}
        run = _run(request, Variation(values)) if tries <= _MOST_TRIES else None
        if run is not None:
            good += group
            last = run
        elif len(group) == 1 or tries > _MOST_TRIES:
            bad += group
        else:
            waiting = [group[: len(group) // 2], group[len(group) // 2 :], *waiting]
    if bad:
        told = ", ".join(f"`{name}`" for name in bad)
        remarks.append(f"literals are not told from {told}: the application takes no other value")
    return [last] if good else []


# --- write


def _texts(
    request: AdoptionRequest, first: VariedRun, merged: Merged
) -> tuple[dict[Path, str], list[AdoptedCall]]:
    """Return the files, the manifest first, and the items as they ended."""
    place = _package(request, first.taken)
    for number in range(1, 100):
        name = "assembly" if number == 1 else f"assembly_{number}"
        module = AssemblyModule(
            name=f"{place.package}.{name}" if place.package else name,
            root=first.taken["root"],
            application=None if request.is_factory else first.taken["path"],
            factory=request.target if request.is_factory else None,
        )
        items = _copied(merged.items)
        copy = replace(merged, items=items, resources=dict(merged.resources))
        written = ManifestWriter(copy, module, request.output.parent).written()
        files = {request.output: written.text}
        for switch, text in written.overlays.items():
            path = _overlay_path(request, switch)
            refuse_to_overwrite(path)
            files[path] = text.replace("extends: BASE", f"extends: {request.output.name}")
        if module.is_empty:
            return files, items
        path = place.folder / f"{name}.py"
        text = module.text()
        if not path.exists() or path.read_text("utf-8") == text:
            return {**files, path: text}, items
    raise UsageError(f"`{place.folder.as_posix()}` has a hundred modules `assembly`")


def _overlay_path(request: AdoptionRequest, switch: str) -> Path:
    """Return where the manifest stands for a switch that is turned."""
    return request.output.with_name(
        f"{request.output.stem}.{switch.lower()}{request.output.suffix}"
    )


@dataclass(frozen=True, slots=True)
class _Package:
    folder: Path
    package: str


def _package(request: AdoptionRequest, taken: Mapping[str, Any]) -> _Package:
    """Return the package of the module that composed the application."""
    root = Path(taken["file"]).resolve()
    name = taken["root"]
    is_package = root.name == "__init__.py"
    package = name if is_package else name.rpartition(".")[0]
    here = Path.cwd().resolve()
    folder = root.parent
    return _Package(folder.relative_to(here) if folder.is_relative_to(here) else folder, package)


def _copied(given: list[AdoptedCall]) -> list[AdoptedCall]:
    """Copy items, for a writer to change: those that stand before one are copies, too."""
    copies = {id(item): replace(item, overlays=dict(item.overlays)) for item in given}
    for copy in copies.values():
        copy.entry = None if copy.entry is None else dict(copy.entry)
        copy.before = None if copy.before is None else copies[id(copy.before)]
    return list(copies.values())


def _refuse_secrets(files: Mapping[Path, str], first: VariedRun, merged: Merged) -> None:
    """Raise `AssemblerError` where a secret's value stands in what would be written."""
    values = {value for value, _ in merged.needs.values()}
    settings = first.taken["settings"] or {"values": {}}
    for said in settings["values"].values():
        if said["secret"] and isinstance(said["value"], str):
            values.add(said["value"])
    for name, value in first.environment.items():
        if is_secret(name, "variable"):
            values.add(value)
    for path, text in files.items():
        if any(len(value) >= _LEAST_SECRET and value in text for value in values):
            raise AssemblerError(
                f"`{path.as_posix()}` would hold the value of a secret, and is not written: this is a fault of the program"
            )


def _write(files: Mapping[Path, str]) -> None:
    """Write each file that is not there; none is written over."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(text)


# --- check


def _checked(request: AdoptionRequest, merged: Merged, path: Path, given: Mapping[str, str]) -> str:
    """Return what `check` says of a manifest; the variables that it needs are set for it."""
    environment = {
        **given,
        **{name: value for name, (value, _) in merged.needs.items()},
    }
    argument = {"target": request.target, "path": os.fspath(path)}
    try:
        return str(
            run_guarded("assembler.adopt.adoption:checked", argument, environment=environment).value
        )
    except ForeignCodeError as error:
        return str(error)


def checked(argument: Mapping[str, Any], guard: Guard) -> str:
    """Check a manifest, and its form, in a process of its own; return the faults, drawn."""
    from assembler.document.parser import read_file  # noqa: PLC0415  # the process alone needs it
    from assembler.plan.load import load  # noqa: PLC0415  # as above
    from assembler.review.formatting import formatted  # noqa: PLC0415  # as above

    path = Path(argument["path"])
    try:
        load(path, lazy=False)
    except ManifestError as error:
        return reports.as_text(error.diagnostics, color=False)
    file = read_file(path, path.name)
    return "" if formatted(file) == file.text else f"`{path.name}` is not in canonical form"
