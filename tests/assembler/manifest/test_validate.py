"""Whatever stands in a manifest, with references anywhere, gives a manifest or faults with places."""

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.errors import ManifestError
from assembler.document.nodes import NodePath
from assembler.plan.load import load, load_shape

WHOLE: dict[str, Any] = yaml.safe_load("""
manifest: 1
app:
  title: Shop
  version: "1"
  summary: s
  description: d
  terms_of_service: t
  contact: {name: n, url: u, email: a@example.com}
  license: {name: MIT, identifier: MIT}
  servers: [{url: /, description: d, variables: {a: {default: b}}}]
  root_path: /api
  openapi: {path: /o, docs: /d, redoc: null}
  tags: [{name: a, description: b, externalDocs: {url: c}}]
logging: {version: 1}
resources:
  box: {use: collections.OrderedDict, with: {}, on_error: warn, timeout: 5s, close_timeout: 5s}
middleware:
  - {id: gzip, use: starlette.middleware.gzip.GZipMiddleware, with: {minimum_size: 500}}
exception_handlers:
  - {catch: 404, use: builtins.print}
configure: [{use: builtins.print}]
routes:
  - {use: fastapi.routing.APIRouter, prefix: /a, tags: [a], dependencies: [builtins.print, {use: builtins.dict, with: {}}]}
  - {mount: /m, use: starlette.applications.Starlette, lazy: true, warmup: true}
startup:
  - {use: builtins.print, on_error: warn, timeout: 1s}
  - {sql: [{label: a, run: SELECT 1}], database: "${resources.box}", dialect: postgresql, lock_timeout: 1s, statement_timeout: 1s, always: false}
scheduler:
  enabled: true
  timezone: UTC
  store: ${resources.box}
  engine: process
  queue: q
  concurrency: 2
  name: n
  lease: 30s
  close_timeout: 10s
  retention: 168h
  threads: 2
  jobs:
    - {use: builtins.print, cron: "* * * * *", timezone: UTC, timeout: 5s, grace: 60s, jitter: 1s, overlap: allow, on_crash: skip, retries: 1, retry_wait: 1s}
    - {id: other, use: builtins.print, every: 30s}
shutdown: [{use: builtins.print, timeout: 1s}]
server: {host: h, port: 1, workers: 1, timeout_graceful_shutdown: 1, drain: 1s, termination_grace: 30s, log_level: info}
audit: {suppress: [{rule: r, reason: w, until: 2027-01-31}]}
expect: [{request: GET /, headers: {a: b}, status: 200, response_headers: {a: null}, route: r, passes: [gzip]}]
""")
WHOLE["audit"]["suppress"][0]["until"] = "2027-01-31"
REFERENCES = (
    "${X}",
    "${X:-}",
    "${X:?why}",
    "a${X}b",
    "${settings.x}",
    "${resources.box}",
    "${",
    "${a b}",
)
OPEN = {"with", "variables", "externalDocs", "headers", "response_headers"}
NEVER = (
    "takes no reference",
    "must be a mapping",
    "must be a list",
    "must be a reference",
    "must be 1,",
)


def places(value: Any, path: NodePath = ()) -> Iterator[NodePath]:
    yield path
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*path, key))


PLACES = list(places(WHOLE))


def value_at(path: NodePath) -> Any:
    value: Any = WHOLE
    for segment in path:
        value = value[segment]
    return value


def changed(path: NodePath, value: Any, key: str | None = None) -> dict[str, Any]:
    """Put `value` at `path`, or under a key of what stands there."""
    data: Any = copy.deepcopy({"": WHOLE})
    at = data
    for segment in ("", *path)[:-1]:
        at = at[segment]
    last = path[-1] if path else ""
    if key is None:
        at[last] = value
    elif isinstance(at[last], dict):
        at[last][key] = value
    elif isinstance(at[last], list):
        at[last].append(value)
    else:
        at[last] = {key: value}
    found: dict[str, Any] = data[""]
    return found


def outcome(folder: Path, data: Any, **how: Any) -> list[str]:
    """Return the faults, each of which has a place, a code and words."""
    file = folder / "any.yaml"
    file.write_text(json.dumps(data), encoding="utf-8")
    try:
        if how:
            load(file, **how)
        load_shape(file)
    except ManifestError as error:
        found = error.diagnostics
    else:
        return []
    assert found
    assert all(fault.span is not None and fault.message for fault in found)
    return [fault.message for fault in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_at_every_place_gives_a_manifest_or_faults(
    folder: Path, reference: str
) -> None:
    for path in PLACES:
        outcome(folder, changed(path, reference))


def test_a_reference_at_every_place_under_a_key_that_nobody_knows_is_a_fault(folder: Path) -> None:
    for path in PLACES:
        if path[:1] in {("logging",), ("server",)} or OPEN & set(path):
            continue
        if isinstance(value_at(path), list):
            continue  # an item of a list is a value that may come
        assert outcome(folder, changed(path, "${X}", "foo")), path


def test_only_what_no_variable_can_bring_is_refused_before_the_variables_are_read(
    folder: Path,
) -> None:
    refused = 0
    for path in PLACES[1:]:
        for said in outcome(folder, changed(path, "${X}")):
            refused += 1
            assert any(words in said for words in NEVER), (path, said)
    assert refused > 30


@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES[1:]), st.sampled_from(REFERENCES), st.none() | st.just("foo")
        ),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from([{"static": True}, {"environment": {}}, {"environment": {"X": "1"}}]),
)
def test_references_at_any_places_give_a_plan_or_faults(
    folder: Path, changes: list[tuple[NodePath, str, str | None]], how: dict[str, Any]
) -> None:
    data = copy.deepcopy(WHOLE)
    for path, value, key in changes:
        at: Any = data
        *above, last = path
        with contextlib.suppress(KeyError, IndexError, TypeError):  # an earlier change took it away
            for segment in above:
                at = at[segment]
            at[last] = value if key is None else {key: value}
    outcome(folder, data, **how)
