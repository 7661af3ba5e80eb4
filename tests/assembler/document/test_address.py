"""Addresses of values: ids and keys may hold dots, and what is not there is told."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import File
from assembler.document.address import address_of, path_of, stands
from assembler.document.nodes import MappingNode, walk
from assembler.document.parser import read


def root_of(text: str) -> MappingNode:
    root = read(File("made.yaml", text))
    assert isinstance(root, MappingNode)
    return root


ROOT = root_of("""
app: {title: Shop, a.b: {c: 1}, a: {b: 2}}
resources: {db: {use: x.y, with: {url: u}}}
middleware:
  - {use: x.Stamp, with: {limit: 1}}
  - {id: x, use: x.Stamp}
  - {id: v1.2, use: x.Stamp, with: {hosts: [a, b]}}
exception_handlers:
  - {catch: 404, use: x.y}
routes:
  - {use: x.router, prefix: /api/v1}
  - {mount: /mcp, use: x.app}
scheduler: {jobs: [{id: tick, use: x.y}]}
startup: [nonsense]
""")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("", ()),
        ("app", ("app",)),
        ("app.title", ("app", "title")),
        ("app.a.b", ("app", "a.b")),
        ("app.a.b.c", ("app", "a.b", "c")),
        ("resources.db.with.url", ("resources", "db", "with", "url")),
        ("middleware.x.Stamp.with.limit", ("middleware", 0, "with", "limit")),
        ("middleware.x.use", ("middleware", 1, "use")),
        ("middleware.v1.2.with.hosts.1", ("middleware", 2, "with", "hosts", 1)),
        ("exception_handlers.404.use", ("exception_handlers", 0, "use")),
        ("routes.x.router /api/v1.prefix", ("routes", 0, "prefix")),
        ("routes./mcp", ("routes", 1)),
        ("scheduler.jobs.tick.use", ("scheduler", "jobs", 0, "use")),
        ("startup.0", ("startup", 0)),
    ],
)
def test_an_address_names_a_value(address: str, path: tuple[str | int, ...]) -> None:
    assert path_of(ROOT, address) == path
    assert stands(ROOT, path)


def test_keys_that_are_not_there_yet_are_taken_as_they_stand() -> None:
    path = path_of(ROOT, "resources.db.with.pool.size")
    assert path == ("resources", "db", "with", "pool", "size")
    assert not stands(ROOT, path)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "middleware.v1.3.with",
            "`middleware` has no entry that `v1.3` names\n  = help: did you mean `v1.2`?",
        ),
        ("middleware.other", "`middleware` has no entry that `other` names"),
        ("middleware.a.b.with.limit", "`middleware` has no entry that `a.b` names"),
        ("middleware.1", "`middleware` has no entry that `1` names"),
        (
            "scheduler.jobs.tock",
            "`scheduler.jobs` has no entry that `tock` names\n  = help: did you mean `tick`?",
        ),
        (
            "middleware.v1.2.with.hosts.7",
            "`middleware.v1.2.with.hosts` has no entry that `7` names",
        ),
    ],
)
def test_an_entry_that_is_not_there_is_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        path_of(ROOT, address)
    assert str(caught.value) == message


@pytest.mark.parametrize("path", [("nope", "app"), ("app", "title", "x"), ("startup", 1), (0,)])
def test_a_path_through_what_is_not_there_does_not_stand(path: tuple[Any, ...]) -> None:
    assert not stands(ROOT, path)


def test_every_value_has_an_address_that_leads_back_to_it() -> None:
    for path, _ in walk(ROOT):
        if path[:1] != ("app",):  # where `a.b` hides the `b` of `a` on purpose
            assert path_of(ROOT, address_of(ROOT, path)) == path


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_path_or_a_clear_refusal(address: str) -> None:
    try:
        path = path_of(ROOT, address)
    except UsageError:
        return  # its texts are pinned above
    stands(ROOT, path)
