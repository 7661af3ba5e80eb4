"""One table says what a section of entries is, and every reader takes it."""

import ast
from pathlib import Path

import assembler
from assembler.document.sections import ENTRIES, ENTRY_LISTS, SECTIONS
from assembler.manifest import Manifest
from assembler.manifest.entry import Entry, Route
from assembler.manifest.sections import ENTRY_MODELS, entries_of
from assembler.manifest.step import Startup

SOURCES = Path(assembler.__file__).parent
# The third is of FastAPI's words, some of which the format has too.
# The phases of a step, of which some are named like sections, stand in `runtime/report.py`.
TABLES = {"document/sections.py", "manifest/sections.py", "manifest/app.py", "runtime/report.py"}
TABLES |= {"describe/topics/__init__.py"}  # which texts a section's page leads to
NAMES = set(ENTRIES)
ROLES = {"handler", "router"}  # a table by role answers another question


def test_both_tables_have_the_same_sections_in_the_order_of_the_format() -> None:
    assert list(ENTRIES) == list(ENTRY_MODELS)
    order = list(Manifest.model_fields)
    tops = [order.index(str(section.path[0])) for section in ENTRIES.values()]
    assert tops == sorted(tops)


def test_every_section_of_the_format_that_holds_entries_is_in_the_table() -> None:
    found = set()
    for name, field in Manifest.model_fields.items():
        inner = {name: field.annotation}
        inner |= {
            f"{name}.{key}": below.annotation
            for key, below in getattr(field.annotation, "model_fields", {}).items()
        }
        for path, annotation in inner.items():
            arms = getattr(annotation, "__args__", ())
            if any(
                isinstance(arm, type) and issubclass(arm, Entry | Route | Startup) for arm in arms
            ):
                found.add(path)
    assert found == set(ENTRIES)


def test_a_section_without_a_value_is_empty_wherever_the_format_has_one() -> None:
    assert Manifest.model_fields.keys() - SECTIONS == {"manifest", "settings"}
    assert Manifest.model_fields.keys() > SECTIONS


def test_entries_come_with_their_paths() -> None:
    manifest = Manifest.model_validate(
        {
            "manifest": 1,
            "resources": {"db": {"use": "a.b"}},
            "middleware": [{"use": "a.c"}, {"use": "a.d"}],
            "scheduler": {"jobs": [{"use": "a.e", "cron": "* * * * *"}]},
        }
    )
    found = [(path, entry.use) for name in ENTRIES for path, entry in entries_of(manifest, name)]
    assert found == [
        (("resources", "db"), "a.b"),
        (("middleware", 0), "a.c"),
        (("middleware", 1), "a.d"),
        (("scheduler", "jobs", 0), "a.e"),
    ]
    assert ("resources",) not in ENTRY_LISTS


def test_no_other_module_has_a_table_of_sections() -> None:
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        name = path.relative_to(SOURCES).as_posix()
        if name in TABLES or "templates" in name:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Dict | ast.Set | ast.List | ast.Tuple):
                said = {
                    leaf.value
                    for leaf in ast.walk(node)
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                }
                if len(said & NAMES) > 3 and not said >= ROLES:  # three may mean something alone
                    found.append(f"{name}:{node.lineno} lists {sorted(said & NAMES)}")
    assert found == []
