"""Rules about who may come in: mounts, pages of operators, addresses.

In: a `Subject`. Out: sightings. What guards a mount is known by its name or by an option of the
mount; whether it guards well is for its tests.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from assembler.document.nodes import MappingNode, ScalarNode, locate
from assembler.plan.path_patterns import exempts, guards
from assembler.review.audit.item import Item
from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_POWERFUL = re.compile(
    r"(?<![a-z])(mcp|admin|console|dashboard|debug|internal|flower|pgadmin|shell|tick)(?![a-z])",
    re.IGNORECASE,
)
_METRICS = re.compile(r"(?<![a-z])metrics?(?![a-z])|prometheus", re.IGNORECASE)
_HEALTH = re.compile(r"(?<![a-z])health", re.IGNORECASE)
_GUARDING = re.compile(
    r"token|secret|password|auth|resource_server|gate|verif|api_?key|jwks|issuer|users",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"well_known|dev_issuer|authorization_server", re.IGNORECASE)
_GUARDS = frozenset({"auth", "allow-list", "signature"})
_EVERYONE = frozenset({"0.0.0.0/0", "::/0", "*"})
_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def _open_mounts(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        text = f"{item.id} {item.use} {_path(item)}"
        if subject.role(item) == "console":
            continue  # a rule of its own
        if _POWERFUL.search(text) and not _PUBLIC.search(text) and not _guarded(subject, item):
            yield Sighting(item.span, f"nothing in the manifest guards {_shown(item)}")


def _open_consoles(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        if subject.role(item) == "console" and not _guarded(subject, item):
            message = f"the console at {_shown(item)} asks for no token"
            yield Sighting(item.span, message)


def _open_metrics(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        if _METRICS.search(f"{item.id} {item.use} {_path(item)}") and not _guarded(subject, item):
            yield Sighting(item.span, f"anyone may read the metrics at {_shown(item)}")


def _health_details(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        if not _HEALTH.search(f"{item.use} {_path(item)}"):
            continue
        for key in ("details", "show_details", "verbose"):
            if item.flag(key) and not _guarded(subject, item):
                yield Sighting(item.place(key), f"{item.called} tells anyone what is wrong inside")


def _everyone(subject: Subject) -> Iterator[Sighting]:
    for item in subject.middleware:
        for key in ("allow", "allowed", "allow_list", "networks"):
            if _EVERYONE & set(item.texts(key)):
                yield Sighting(item.place(key), f"{item.called} allows every address")


def _any_id(subject: Subject) -> Iterator[Sighting]:
    for item in subject.middleware:
        if "*" in item.texts("trust"):
            yield Sighting(item.place("trust"), f"{item.called} believes what anyone sends")


def _plain_http(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        for key in item.options.members:
            value = item.value(key)
            if isinstance(value, str) and value.lower().startswith("http://") and _is_far(value):
                message = f"`{key}` of {item.called} is reached without encryption"
                yield Sighting(item.place(key), message)


def _is_far(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    is_inside = "." not in host or host.endswith((".local", ".internal", ".svc", ".localhost"))
    return "$" not in host and host not in _HERE and not host.startswith("127.") and not is_inside


def _guarded(subject: Subject, item: Item) -> bool:
    """Tell whether an option, a dependency, a wrapper or a layer names something that guards."""
    if (
        any(_GUARDING.search(key) and item.value(key) is not None for key in item.options.members)
        or subject.role(item) in _GUARDS
    ):
        return True
    if any(subject.role(layer) in _GUARDS for layer in subject.scope_of(item)):
        return True
    is_mount = item.node.get("mount") is not None
    if item.dependencies or (subject.section("app").dependencies and not is_mount):
        return True
    if any(
        "resource_server" in layer.options.members
        and _is_protected(subject, layer, item.seen_by(layer, _path(item)))
        for layer in subject.middleware
    ):
        return True
    return any(
        subject.role(layer) in _GUARDS
        and "resource_server" not in layer.options.members
        and _covers(layer, item)
        for layer in subject.middleware
    )


def _is_protected(subject: Subject, layer: Item, path: str) -> bool:
    """Tell whether the resource server of a gate has that mount; unknown ones are believed."""
    server = subject.resource(layer.resource("resource_server"))
    options = MappingNode({}, layer.span) if server is None else server.options
    mounts, key = locate(options, ("mounts",))
    return key is None or not isinstance(mounts, MappingNode) or path in mounts.members


def _covers(layer: Item, item: Item) -> bool:
    """Tell whether a guard looks at all that an entry answers, beneath its path too.

    Its `paths` and `exempt` say so; `paths: []` is all. A page of metrics stands at its prefix, where
    that says so.
    """
    guarded, exempt = layer.texts("paths"), layer.texts("exempt")
    paths = [item.seen_by(layer, _path(item))]
    if item.node.get("mount") or (item.node.get("prefix") and not _METRICS.search(_path(item))):
        paths.append(f"{paths[0].rstrip('/')}/x")
    return all(
        (not guarded or any(guards(text, path) for text in guarded))
        and not any(exempts(text, path) for text in exempt)
        for path in paths
    )


def _path(item: Item) -> str:
    """Return where an entry answers; metrics without a prefix do at `/metrics`."""
    node = item.node.get("mount") or item.node.get("path") or item.node.get("prefix")
    if isinstance(node, ScalarNode):
        return str(node.value)
    return "/metrics" if _METRICS.search(item.use) else ""


def _shown(item: Item) -> str:
    return f"`{item.front}{_path(item)}`" if _path(item) else item.called


RULES = (
    AuditRule(
        "open-mount",
        "high",
        "tools and consoles act for whoever reaches them",
        "put a gate before it, give its router `dependencies`, or an option that names a token",
        _open_mounts,
        SERVED,
    ),
    AuditRule(
        "open-console",
        "high",
        "it is for this machine alone then, and any process or plain proxy on it sees and orders all",
        'write `token: "${OPERATIONS_TOKEN}"`',
        _open_consoles,
        SERVED,
    ),
    AuditRule(
        "open-metrics",
        "medium",
        "numbers of routes, errors and load tell an attacker what works",
        "put `IPAllowListMiddleware` with `paths` before it, or ask for a token",
        _open_metrics,
        SERVED,
    ),
    AuditRule(
        "health-details",
        "medium",
        "details of a failure name hosts, versions and what is weak just now",
        "show details to who has a token; probes need the status alone",
        _health_details,
        SERVED,
    ),
    AuditRule(
        "allows-every-address",
        "high",
        "a list of all addresses refuses nobody",
        "list the networks that may come in",
        _everyone,
        SERVED,
    ),
    AuditRule(
        "ids-from-anyone",
        "low",
        "a stranger who chooses the request ID can make other requests' log lines look alike",
        "list the proxies that set the header",
        _any_id,
        SERVED,
    ),
    AuditRule(
        "plain-http",
        "medium",
        "who sits between can read what is sent there, keys included, and answer instead",
        "write `https://`",
        _plain_http,
        SERVED,
    ),
)
