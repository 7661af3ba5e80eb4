"""Expectations and an application → which of them it meets.

In: a plan, its application, what is expected. Out: a `Result` for each, whose faults stand at the
line that is not met. Nothing is imitated: each request travels the application that `build` made,
and the guard inside each layer tells how far it came.

A layer is passed by a request that it hands on; one that answers itself is not. The layers of a route
and of a manifest that is mounted come after those of the application. The route is asked
of the routes for the scope that came through the layers, so a path that one of them rewrites is the
path that counts.

Beside `prod.yaml` stands `prod.expect.yaml`, a mapping with the one key `expect`; what it lists comes
after what the manifest itself expects. Refuses a manifest that expects nothing: a test that tests
nothing is no pass.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from assembler.application.build import build
from assembler.describe.explain import answering, explanation, routes_of
from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.extends import read_layer, shown_name
from assembler.document.interpolation import Resolver
from assembler.document.interpolation_checks import (
    check_environment,
    check_settings,
    check_syntax,
    mentions,
)
from assembler.document.nodes import MappingNode, Member, Node, ScalarNode, SequenceNode, locate
from assembler.document.parser import read_file
from assembler.manifest.review import Expectation
from assembler.manifest.validate import read_manifest
from assembler.plan.load import Plan
from assembler.testing.expect.exchange import Answer, exchange, started

Expected = tuple[Expectation, Node]


@dataclass(frozen=True, slots=True)
class Result:
    """What one request gave: its status, the id of the entry that answered, the layers passed."""

    request: str
    span: Span
    status: int | None
    route: str | None
    passes: tuple[str, ...]
    milliseconds: float
    faults: tuple[Diagnostic, ...]


async def run(
    plan: Plan,
    app: FastAPI,
    expected: Sequence[Expected],
    *,
    state: Mapping[str, Any],
    timeout_seconds: float = 30,
) -> list[Result]:
    """Send the requests in order, one at a time, to an application that has started.

    `state` is what its start gave to requests; `timeout_seconds` bounds each answer.
    """
    layers = [layer["id"] for layer in explanation(plan, app)["middleware"]]
    entries = [component.id for part in plan.parts for component in part.routes]
    results = []
    for expectation, node in expected:
        method, _, target = expectation.request.partition(" ")
        begun = time.perf_counter()
        answer = await exchange(
            app,
            method,
            target,
            expectation.headers,
            state=state,
            timeout_seconds=timeout_seconds,
        )
        milliseconds = round((time.perf_counter() - begun) * 1000, 1)
        passed, route, everything = _way(plan, app, answer, layers)
        faults = _faults(_Met(expectation, node, answer, everything, passed, route, entries))
        scrubbed = tuple(fault.scrubbed(plan.secrets.scrub) for fault in faults)
        request = plan.secrets.scrub(expectation.request)
        result = Result(
            request, _place(node), answer.status, route, tuple(passed), milliseconds, scrubbed
        )
        results.append(result)
    return results


def _way(
    plan: Plan, app: FastAPI, answer: Answer, layers: list[str]
) -> tuple[list[str], str | None, list[str]]:
    """Return the layers that the request passed, the entry that answered it, and all on its way.

    Those of a route, and of a manifest that is mounted, stand inside those of the application.
    """
    own = [
        (depth, scope)
        for depth, scope, name in answer.trail
        if name is None and scope.get("app") is app
    ]
    depth, scope = max(own, key=lambda reached: reached[0], default=(0, {}))
    route = answering(routes_of(plan, app), scope) if own and depth == len(layers) else None
    passed = [*layers[:depth], *(name for _, _, name in answer.trail if name is not None)]
    everything = [*layers, *route.layers] if route else layers
    is_reached = route is not None and len(passed) >= len(everything)
    return passed, route.id if route and is_reached else None, everything


@dataclass(frozen=True, slots=True)
class _Met:
    expectation: Expectation
    node: Node
    answer: Answer
    layers: list[str]
    passed: list[str]
    route: str | None
    entries: list[str]


def _faults(met: _Met) -> Iterator[Diagnostic]:
    expectation, answer = met.expectation, met.answer
    request = f"`{expectation.request}`"
    if answer.fault is not None:
        yield _fault(met, ("request",), f"{request} {answer.fault}")
    if expectation.status not in {None, answer.status}:
        given = f"gives {answer.status}" if answer.status else "gives no status"
        yield _fault(met, ("status",), f"{request} {given}, not {expectation.status}")
    for name, wanted in expectation.response_headers.items():
        yield from _header(met, name, wanted)
    if expectation.route is not None and expectation.route != met.route:
        by = f"by `{met.route}`" if met.route else "by no route"
        message = f"{request} is answered {by}, not by `{expectation.route}`"
        yield _fault(met, ("route",), message, help=_meant([expectation.route], met.entries))
    if expectation.passes is not None and expectation.passes != met.passed:
        passed = ", ".join(f"`{name}`" for name in met.passed) or "no layer"
        rest = met.layers[len(met.passed) :]
        by = f", and `{rest[0]}` answers it" if rest else ""
        remedy = _meant(expectation.passes, met.layers)
        yield _fault(met, ("passes",), f"{request} passes {passed}{by}", help=remedy)


def _header(met: _Met, name: str, wanted: str | None) -> Iterator[Diagnostic]:
    values = [value for key, value in met.answer.headers if key == name.lower()]
    place = ("response_headers", name)
    if wanted is None and values:
        yield _fault(met, place, f"`{name}` is in the answer, as `{values[0]}`")
    elif wanted is not None and not values:
        yield _fault(met, place, f"`{name}` is not in the answer")
    elif wanted is not None and wanted not in (*values, ", ".join(values)):
        yield _fault(met, place, f"`{name}` is `{', '.join(values)}`, not `{wanted}`")


def _fault(met: _Met, path: tuple[str, ...], message: str, help: str | None = None) -> Diagnostic:
    node, _ = locate(met.node, path)
    return Diagnostic("unmet-expectation", message, node.span, help=help)


def _meant(named: list[str], known: list[str]) -> str | None:
    unknown = [name for name in named if name not in known]
    return did_you_mean(unknown[0], known) if unknown else None


def _place(node: Node) -> Span:
    return locate(node, ("request",))[0].span


def expectations_of(plan: Plan, environment: Mapping[str, str]) -> list[Expected]:
    """Return what is expected, in order; raises `ManifestError` for a faulty file beside."""
    found = list(_paired(plan.manifest.expect, plan.document.root.get("expect")))
    path = plan.document.path
    beside = path.with_name(f"{path.stem}.expect{path.suffix}")
    return [*found, *_beside(beside, plan, environment)] if beside.exists() else found


def _beside(path: Path, plan: Plan, environment: Mapping[str, str]) -> list[Expected]:
    why = plan.document.project.refusal(path)
    if why is not None:
        raise UsageError(f"cannot read `{shown_name(path)}`: {why}")
    layer = read_layer(read_file(path, shown_name(path)))
    raise_faults(
        Diagnostic("unknown-key", f"a file of expectations has no key `{key}`", member.key)
        for key, member in layer.members.items()
        if key != "expect"
    )
    version = Member(layer.span, ScalarNode(1, layer.span))
    root = MappingNode({"manifest": version, **layer.members}, layer.span)
    named = mentions(root)
    raise_faults(check_syntax(named))
    missing = [*check_environment(named, environment), *check_settings(named, plan.settings)]
    raise_faults(missing)
    manifest, faults = read_manifest(root, Resolver(environment, plan.settings, plan.secrets))
    raise_faults(fault.scrubbed(plan.secrets.scrub) for fault in faults)
    return list(_paired(manifest.expect if manifest else [], root.get("expect")))


def _paired(expected: list[Expectation], node: Node | None) -> "zip[Expected]":
    return zip(expected, node.items if isinstance(node, SequenceNode) else (), strict=True)


async def try_all(
    plan: Plan, environment: Mapping[str, str], resources: Mapping[str, Any] | None = None
) -> list[Result]:
    """Build and start the application, send the requests of `expect`, and stop it.

    Raises `UsageError` where nothing is expected, and what the build and the start raise.
    """
    expected = expectations_of(plan, environment)
    if not expected:
        name = shown_name(plan.document.path)
        raise UsageError(f"{name} expects nothing: write requests under `expect`")
    app = build(plan, resources)
    async with started(app) as state:
        return await run(plan, app, expected, state=state)
