"""Merged items → the text of a manifest, of its overlays, and of the module beside it.

In: items with what a manifest says of them. Out: each section in the order of the format, each entry with
the line that it comes from; for what has no entry, a bridge: a name in the module `assembly.py`. Says of
each item how it ended. The text is in canonical form, the same bytes for the same items.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembler.adopt.assembly_module import AssemblyModule, split
from assembler.adopt.expressions import BREAK, marked
from assembler.adopt.merge import MADE, AdoptedCall, Merged
from assembler.adopt.naming import NAME
from assembler.diagnostics.span import File
from assembler.document.dump import dump
from assembler.document.nodes import Node
from assembler.document.parser import read
from assembler.document.sections import ENTRIES, entry_id
from assembler.review.formatting import formatted

_WIDTH = 96


@dataclass(slots=True)
class Written:
    """What is written: the manifest, its overlays by the switch, and the module of bridges."""

    text: str
    overlays: dict[str, str] = field(default_factory=dict)


class ManifestWriter:
    """One manifest while it is written."""

    def __init__(self, merged: Merged, module: AssemblyModule, folder: Path) -> None:
        self.merged = merged
        self.module = module
        self.folder = folder
        self.sections: dict[str, list[tuple[dict[str, Any], str]]] = {}
        self.app: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.jobs: list[tuple[dict[str, Any], str]] = []
        self.app_place = ""
        self.names: dict[str, str] = {}  # of what the module makes
        self.entries: dict[int, dict[str, Any]] = {}  # by the item, as they are written

    def written(self) -> Written:
        """Return the texts."""
        self.name_made()
        self.take_facts()
        self.take_layers()
        self.take_handlers()
        self.take_routes()
        self.take_steps()
        self.take_finish()
        self.take_configure()
        self.name_entries()
        text = formatted(File("manifest", "".join(self.lines())))
        return Written(text, dict(self.overlays(text)))

    def of(self, *kinds: str) -> Iterator[AdoptedCall]:
        """Yield the items of these kinds that stand in every environment."""
        return (item for item in self.merged.items if item.kind in kinds and item.section)

    def add(self, section: str, entry: Mapping[str, Any], item: AdoptedCall) -> None:
        """Add an entry with the place it comes from."""
        written = self.entries[id(item)] = dict(entry)
        self.sections.setdefault(section, []).append((written, _comment(item)))

    def name_made(self) -> None:
        """Give what the module beside the manifest makes a name, and put that into the entries."""
        self.keep_dependencies()
        for value in self.merged.made.values():
            self.claim(value)
        for item in self.merged.items:
            found = dict.fromkeys(_made_in(item.entry))
            for key in found:
                self.path_of(key)
            found |= dict.fromkeys(self.made_resources(item.entry))
            if any(self.merged.made[key]["uses_old"] for key in found):
                item.outcome = "bridged"
            item.entry = self.renamed(item.entry)
        resources = self.merged.resources
        for name, path in resources.items():
            resources[name] = self.path_of(path) if path in self.merged.made else path

    def keep_dependencies(self) -> None:
        """Take dependencies from the old application where routes of it have them already.

        FastAPI calls one once for a request, but not one that was lifted and the one that it was.
        """
        has_old_routes = any(
            item.section == "routes" and item.entry is None and item.code is None
            for item in self.merged.items
        )
        for item in self.of("dependencies"):
            lifted = [key for key in _made_in(item.entry) if key in self.merged.made]
            if has_old_routes and lifted:
                item.entry, item.bridge, item.outcome = None, {"is": "dependencies"}, "bridged"
                item.note = "routes of the application as it was have them already"
                others = [key for each in self.merged.items for key in _made_in(each.entry)]
                for key in {*lifted}.difference(others):
                    del self.merged.made[key]

    def made_resources(self, value: Any) -> Iterator[str]:
        """Yield what the module makes of the resources that an entry names."""
        for text in _texts(value):
            name = text.removeprefix("${resources.").removesuffix("}")
            path = self.merged.resources.get(name, "") if name != text else ""
            if path in self.merged.made:
                yield path

    def claim(self, value: Mapping[str, Any]) -> None:
        for each in value.get("needs", ()):
            self.claim(each)
        name = value["name"] if value.get("is_exact") else ""
        self.module.claim(name, value.get("imports", {}))

    def path_of(self, key: str) -> str:
        """Return the import path of what the module makes, which has it from now on."""
        return self.named(key, self.merged.made[key])

    def named(self, key: str, value: Mapping[str, Any]) -> str:
        if key not in self.names:
            for each in value.get("needs", ()):
                self.named(f"{MADE}{each['key']}{MADE}", each)
            wanted = str(value["name"])
            name = wanted if value.get("is_exact") else self.module.fresh(wanted)
            self.names[key] = self.module.path(name)
            code = str(value["code"]).replace(NAME, name)
            for new, origin in value.get("origins", {}).items():
                self.module.origins[new.replace(NAME, name)] = origin
            self.module.add(code, uses_old=bool(value["uses_old"]))
        return self.names[key]

    def renamed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.renamed(each) for each in value]
        is_made = isinstance(value, str) and value in self.merged.made
        return self.path_of(value) if is_made else value

    # --- sections

    def take_facts(self) -> None:
        for item in self.of("app", "dependencies"):
            if item.section != "app":
                continue
            self.app_place = self.app_place or item.place
            self.app |= item.entry or {}
        for item in self.of("state"):
            self.state |= item.entry or {}

    def take_layers(self) -> None:
        for item in self.of("layer"):
            if item.entry is not None:
                self.add("middleware", item.entry, item)
                continue
            name = self.module.fresh(f"{_snake(item.what)}_layer")
            self.module.add(*_layer_code(name, item), uses_old=True)
            self.add("middleware", {"use": self.module.path(name)}, item)

    def take_handlers(self) -> None:
        for item in self.of("handler"):
            if item.entry is not None:
                self.add("exception_handlers", item.entry, item)
            else:
                self.take_hidden_handler(item)

    def take_hidden_handler(self, item: AdoptedCall) -> None:
        """Have a handler whose exception has no name registered by a function."""
        name = self.module.fresh(f"handle_{item.what}")
        self.module.add(
            f"def {name}(app: {marked('fastapi.FastAPI')}) -> None:",
            f'    """Register the handler of {item.place}."""',
            "    for caught, handler in old.exception_handlers.items():",
            f'        if getattr(caught, "__name__", "") == {item.what!r}:',
            "            app.add_exception_handler(caught, handler)",
            uses_old=True,
        )
        self.add("configure", {"use": self.module.path(name)}, item)

    def take_routes(self) -> None:
        waiting: list[AdoptedCall] = []
        for item in self.merged.items:
            if item.section != "routes":
                continue
            is_coded = item.entry is None and item.outcome != "refused"
            if is_coded and (item.bridge or {}).get("is") != "whole":
                waiting.append(item)
                continue
            self.flush(waiting)
            self.take_route(item)
        self.flush(waiting)

    def take_route(self, item: AdoptedCall) -> None:
        if item.entry is not None:
            entry = dict(item.entry)
            if isinstance(entry.get("frontend"), dict):
                folder = os.path.relpath(entry["frontend"]["path"], self.folder)
                entry["frontend"] = Path(folder).as_posix()
            self.add("routes", entry, item)
        elif (item.bridge or {}).get("is") == "whole":
            self.module.needs_old = True
            self.module.add("whole = old", uses_old=True)
            self.add("routes", {"mount": "/", "use": self.module.path("whole")}, item)

    def flush(self, waiting: list[AdoptedCall]) -> None:
        """Write a router for routes that say more than an entry can, as they stand together."""
        if not waiting:
            return
        name = self.module.fresh("routes")
        lines = [f"{name} = {marked('fastapi.APIRouter')}()"]
        uses_old = False
        for item in waiting:
            if item.code is not None:
                lines += [f"# {item.place}", f"{name}.{item.code}"]
                item.outcome = "written"
                continue
            bridge = item.bridge or {}
            first, count = bridge["first"], bridge["count"]
            picked = f"old.router.routes[{first}:{first + count}]"
            lines += [f"# {item.place}", f"{name}.routes += {picked}"]
            item.outcome = "bridged"
            uses_old = True
        self.module.add(*lines, uses_old=uses_old)
        self.add("routes", {"use": self.module.path(name)}, waiting[0])
        waiting.clear()

    def take_steps(self) -> None:
        for item in self.of("lifespan", "event"):
            if item.section == "jobs":
                self.entries[id(item)] = dict(item.entry or {})
                self.jobs.append((self.entries[id(item)], _comment(item)))
            elif item.entry:
                self.add(item.section, item.entry, item)
        schedulers = []
        for item in self.of("job"):
            if item.entry is not None:
                self.jobs.append((item.entry, _comment(item)))
                schedulers.append(item.scheduler)
        for path in dict.fromkeys(schedulers):
            self.hand_over(path)

    def hand_over(self, scheduler: str) -> None:
        """Take the jobs from a scheduler that the manifest has now."""
        name = self.module.fresh("hand_over_jobs")
        kept = [item.what for item in self.of("job") if item.entry is None]
        module, path = split(scheduler)
        lines = [
            f"def {name}() -> None:",
            '    """Leave to the manifest the jobs that it has; the scheduler keeps the others."""',
            f"    for job in {marked(f'{module}:{path}')}.get_jobs():",
            f"        if job.id not in {kept!r} and job.name not in {kept!r}:" if kept else "",
            f"    {'    ' if kept else ''}    job.remove()",
        ]
        self.module.add(*filter(None, lines))
        entry = {"use": self.module.path(name)}
        self.sections.setdefault("configure", []).append((entry, "its jobs stand in `scheduler`"))

    def take_finish(self) -> None:
        """Write what comes after all routes: functions, and calls that say more than an entry can."""
        for item in self.of("function"):
            if item.entry:
                self.add("finish", item.entry, item)
        waiting = [item for item in self.of("frontend") if item.section == "finish" and item.code]
        if not waiting:
            return
        name = self.module.fresh("add_frontends")
        lines = [f"def {name}(app: {marked('fastapi.FastAPI')}) -> None:"]
        lines.append('    """Have files served where no route answers."""')
        for item in waiting:
            lines += [f"    # {item.place}", f"    app.{item.code}"]
        self.module.add(*lines)
        places = ", ".join(item.place for item in waiting)
        entries = self.sections.setdefault("finish", [])
        entries.append(({"use": self.module.path(name)}, places))

    def take_configure(self) -> None:
        """Bridge what is set on the application itself."""
        kinds = ("state", "attribute", "override", "dependencies", "share", "route")
        found = self.of(*kinds)
        waiting = [
            item for item in found if item.entry is None and (item.bridge or {}).get("is") in _SET
        ]
        facts = [(item, name) for item in self.of("app") for name in _facts(item)]
        if not waiting and not facts:
            return
        name = self.module.fresh("take_over")
        lines = [f"def {name}(app: {marked('fastapi.FastAPI')}) -> None:"]
        lines.append('    """Set on the application what stood on the one that there was."""')
        for item, fact in facts:
            lines += [f"    # {item.place}", f"    app.{fact} = old.{fact}"]
        for item in waiting:
            bridge = item.bridge or {}
            line = f"    {_SET[bridge['is']].format(**bridge)}"
            if line not in lines:
                lines += [f"    # {item.place}", line]
            item.outcome = "bridged"
        self.module.add(*lines, uses_old=True)
        told = [*(item for item, _ in facts), *waiting]
        places = ", ".join(dict.fromkeys(item.place for item in told))
        self.sections.setdefault("configure", []).append(({"use": self.module.path(name)}, places))

    # --- names and text

    def name_entries(self) -> None:
        """Give an id to entries that would be called alike."""
        for section, entries in self.sections.items():
            seen: dict[str, int] = {}
            for entry, _ in entries:
                called = _called(section, entry)
                seen[called] = seen.get(called, 0) + 1
            taken: set[str] = set(seen)
            for entry, _ in entries:
                if seen[_called(section, entry)] == 1:
                    continue
                wanted = _wanted(entry)
                name, number = wanted, 1
                while name in taken:
                    number += 1
                    name = f"{wanted}-{number}"
                taken.add(name)
                entry["id"] = name
        names: set[str] = set()
        for entry, _ in self.jobs:
            base, number = entry["id"], 1
            while entry["id"] in names:
                number += 1
                entry["id"] = f"{base}-{number}"
            names.add(entry["id"])

    def lines(self) -> Iterator[str]:
        yield "manifest: 1\n"
        app = {**self.app, **({"state": self.state} if self.state else {})}
        if app:
            yield from _block("app", app, self.app_place)
        if self.merged.settings is not None:
            yield dump([{"settings": self.merged.settings}])
        for section in ENTRIES.values():
            if section.is_mapping:
                yield from self.resource_lines(section.name)
            elif len(section.path) > 1:
                yield from self.job_lines(*section.path)
            else:
                yield from self.section(section.name)

    def resource_lines(self, name: str) -> Iterator[str]:
        if self.merged.resources:
            yield f"{name}:\n"
        for id_, path in self.merged.resources.items():
            yield f"  {id_}: {_flow({'use': path, 'owned': False})}\n"

    def job_lines(self, *path: Any) -> Iterator[str]:
        if self.jobs:
            yield f"{path[0]}:\n  {path[1]}:\n"
        for entry, comment in self.jobs:
            yield from _entry(entry, comment, 4)

    def section(self, name: str) -> Iterator[str]:
        entries = self.sections.get(name, [])
        if entries:
            yield f"{name}:\n"
        for entry, comment in entries:
            yield from _entry(entry, comment, 2)

    def overlays(self, base: str) -> Iterator[tuple[str, str]]:
        """Yield a manifest for each switch that changes more than `enabled` can say."""
        switches: dict[str, list[AdoptedCall]] = {}
        for item in self.merged.items:
            for switch in item.overlays:
                switches.setdefault(switch, []).append(item)
        for switch, items in switches.items():
            sections: dict[str, Any] = {}
            for item in items:
                self.overlay(item, item.overlays[switch], sections)
            if sections:
                data = {"manifest": 1, "extends": "BASE", **sections}
                yield switch, formatted(File("overlay", dump([data])))

    def overlay(
        self, item: AdoptedCall, change: dict[str, Any] | None, sections: dict[str, Any]
    ) -> None:
        """Add to an overlay what one call is where a switch is turned; None is gone."""
        change = self.renamed(change)
        section = item.section or item.only_in
        if section == "app":
            sections.setdefault("app", {}).update(change or {})
            return
        entries: list[dict[str, Any]] = []
        if item.only_in:
            called = self.called(section, item.before) if item.before is not None else ""
            entries.append({**(change or {}), **({"$before": called} if called else {})})
        elif item.entry:
            said = change if change is not None else {"$remove": True}
            entries.append({"id": self.called(section, item), **said})
        if entries:
            where = sections.setdefault("scheduler", {}) if section == "jobs" else sections
            where.setdefault(section, []).extend(entries)

    def called(self, section: str, item: AdoptedCall) -> str:
        """Return what the entry of an item is called, by the id that it was given where it has one."""
        entry = self.entries.get(id(item), item.entry)
        return _called(section, entry) if entry else ""


_SET = {
    "first": "app.router.routes[{first}:{first}] = old.router.routes[{first}:{last}]",
    "state": "app.state.{name} = old.state.{name}",
    "attribute": "app.{name} = old.{name}",
    "overrides": "app.dependency_overrides.update(old.dependency_overrides)",
    "dependencies": "app.router.dependencies += old.router.dependencies",
    "share": "old.state = app.state",
}


def _facts(item: AdoptedCall) -> list[str]:
    """Return the attributes of an application that are taken from the one that there was."""
    bridge = item.bridge or {}
    return list(bridge["names"]) if bridge.get("is") == "facts" else []


def _layer_code(name: str, item: AdoptedCall) -> list[str]:
    """Return the code that has a layer made as it was; `equal` looks into a partial."""
    bridge = item.bridge or {}
    names, layer = bridge["positional"], f"old.user_middleware[{bridge['index']}]"
    if names is None:
        kind = marked("starlette.types.ASGIApp")
        return [
            f"def {name}(app: {kind}) -> {kind}:",
            f'    """Make the layer of {item.place}."""',
            f"    layer = {layer}",
            "    return layer.cls(app, *layer.args, **layer.kwargs)",
        ]
    options = [f"**{layer}.kwargs"]
    if names:
        options.insert(0, f"**dict(zip({names!r}, {layer}.args))".replace("'", '"'))
    call = BREAK.join([f"{layer}.cls", *options])
    return [f"# {item.place}", f"{name} = {marked('functools.partial')}({call})"]


def _made_in(value: Any) -> Iterator[str]:
    return (text for text in _texts(value) if text.startswith(MADE))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of an entry, at any depth."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _comment(item: AdoptedCall) -> str:
    return item.place if not item.proposed else f"{item.place}, proposed: {item.proposed}"


def _block(key: str, data: Mapping[str, Any], comment: str) -> Iterator[str]:
    line = f"{key}: {_flow(data)}"
    if len(line) <= _WIDTH and "\n" not in line:
        yield f"{line}  # {comment}\n"
        return
    yield f"{key}:  # {comment}\n"
    for name, value in data.items():
        text = f"  {name}: {_flow(value)}"
        if isinstance(value, dict | list) and len(text) <= _WIDTH:
            yield f"{text}\n"
        else:
            yield _indented(dump([{name: value}]), 2)


def _entry(entry: Mapping[str, Any], comment: str, indent: int) -> Iterator[str]:
    start = " " * indent
    line = f"{start}- {_flow(entry)}"
    if len(line) <= _WIDTH and "\n" not in line:
        yield f"{line}  # {comment}\n"
        return
    first = True
    for name, value in entry.items():
        lead = f"{start}- " if first else f"{start}  "
        text = f"{lead}{name}: {_flow(value)}"
        if len(text) > _WIDTH and isinstance(value, dict | list):
            text = lead + _indented(dump([{name: value}]), indent + 2).lstrip().rstrip("\n")
        elif len(text) > _WIDTH:
            text = lead + _indented(dump([{name: value}]), indent + 2).strip()
        yield f"{text}  # {comment}\n" if first else f"{text}\n"
        first = False


def _flow(value: Any) -> str:
    return dump([value], is_flow=True).removesuffix("\n").removesuffix("\n...")


def _indented(text: str, indent: int) -> str:
    return "".join(
        f"{' ' * indent}{line}" if line.strip() else line for line in text.splitlines(keepends=True)
    )


def _called(section: str, entry: Mapping[str, Any]) -> str:
    """Return what an entry is called without an id of its own."""
    if "id" in entry:
        return str(entry["id"])
    node: Node = read(File("entry", dump([dict(entry)])))
    path = ("scheduler", "jobs") if section == "jobs" else (section,)
    return entry_id(path, node) or str(entry)


def _wanted(entry: Mapping[str, Any]) -> str:
    """Return a good id for an entry: what its options name, or its own name."""
    options = entry.get("with", {})
    code = [value for value in options.values() if isinstance(value, str) and "." in value]
    text = code[0] if len(options) == 1 and code and "$" not in code[0] else str(entry["use"])
    name = split(text)[1].rpartition(".")[2] or text
    return _snake(name).replace("_", "-")


def _snake(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"\W+", "_", words).strip("_").lower()


def outcomes(items: Iterable[AdoptedCall]) -> dict[str, int]:
    """Count how the recorded calls ended."""
    found = {"written": 0, "bridged": 0, "refused": 0}
    for item in items:
        found[item.outcome] += 1
    return found
