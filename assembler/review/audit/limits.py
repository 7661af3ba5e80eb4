"""Rules about what bounds a caller: rates, bodies, time, and by which address a caller is known.

In: a `Subject`. Out: sightings. Sources: OWASP API security, API4 (unrestricted resource
consumption) and API2 (broken authentication).
"""

import re
from collections.abc import Iterator

from assembler.document.nodes import ScalarNode
from assembler.document.provenance import Unknown
from assembler.review.audit.item import PROBE, Item
from assembler.review.audit.rule import PROD, SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_LOGIN = re.compile(
    r"(?<![a-z])(auth|oauth2?|login|log_?in|sign_?in|sign_?up|token|password|session|otp|mfa)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_ALL = frozenset({"*", "/*", "/**"})
_HUGE = 100 * 1024 * 1024  # bytes


def _no_limit(subject: Subject) -> Iterator[Sighting]:
    yield from subject.lacking("limiter", "no layer limits how often a caller may ask")


def _logins(subject: Subject) -> Iterator[Sighting]:
    rules = [(one, text) for one in subject.each_layer("limiter") for text in _matches(one)]
    for item in subject.routes:
        paths = [] if _own_limit(subject, item) else _login_paths(subject, item)
        open_paths = [
            path
            for path in paths
            if not any(_within(text, item.seen_by(layer, path)) for layer, text in rules)
        ]
        if open_paths and not any(_LOGIN.search(text) for _, text in rules):
            message = (
                f"{item.called} logs users in at `{open_paths[0]}`, without a limit of its own"
            )
            yield Sighting(item.span, message)


def _before_proxy(subject: Subject) -> Iterator[Sighting]:
    proxies = subject.layers("proxy")
    for index, item in subject.layers("limiter"):
        if _by_address(item) and proxies and proxies[0][0] > index:
            message = f"{item.called} stands outside {proxies[0][1].called}"
            yield Sighting(item.span, message)


def _without_proxy(subject: Subject) -> Iterator[Sighting]:
    server = subject.server
    is_told = server.has("forwarded_allow_ips") or server.has("ssl_certfile") or server.has("uds")
    if is_told or subject.layers("proxy"):
        return
    for item in subject.each_layer("limiter"):
        if _by_address(item):
            message = f"{item.called} counts by address, and no proxy is trusted to tell it"
            yield Sighting(item.span, message)
            return


def _trusts_all(subject: Subject) -> Iterator[Sighting]:
    proxies = [(item, "trusted_hosts") for item in subject.each_layer("proxy")]
    for item, key in [(subject.server, "forwarded_allow_ips"), *proxies]:
        if "*" in item.texts(key):
            yield Sighting(item.place(key), f"`{key}` takes the client's address from anyone")


def _fails_open(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("limiter"):
        if item.value("on_store_error") == "allow":
            message = f"{item.called} lets all through while its store is away"
            yield Sighting(item.place("on_store_error"), message)


def _exempt(subject: Subject) -> Iterator[Sighting]:
    for item in subject.middleware:
        if _ALL & set(item.texts("exempt")):
            yield Sighting(item.place("exempt"), f"{item.called} exempts every path")


def _probes(subject: Subject) -> Iterator[Sighting]:
    paths = [_text(item, "prefix") for item in subject.routes if PROBE.search(_naming(item))]
    for item in subject.each_layer("limiter"):
        exempt = item.texts("exempt")
        for path in paths:
            is_known = not isinstance(item.value("exempt"), Unknown)
            if path and is_known and not any(_within(text, path) for text in exempt):
                yield Sighting(item.span, f"{item.called} counts the probes of `{path}`")
                break


def _no_body(subject: Subject) -> Iterator[Sighting]:
    yield from subject.lacking("body-limit", "no layer bounds the body of a request")


def _huge_body(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("body-limit"):
        for key in ("max_bytes", "max_body_size", "max_size", "limit"):
            value = item.value(key)
            if isinstance(value, int) and value > _HUGE:
                yield Sighting(item.place(key), f"{item.called} takes bodies of over 100 MiB")


def _no_time(subject: Subject) -> Iterator[Sighting]:
    yield from subject.lacking("timeout", "no layer bounds the time of a request")


def _by_address(item: Item) -> bool:
    return str(item.value("key", "client_ip")) == "client_ip"


def _matches(item: Item) -> Iterator[str]:
    """Yield the patterns of requests for which a limiter has a limit of their own."""
    rules = item.value("routes")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and "limit" in rule:
            yield str(rule.get("match", ""))


def _own_limit(subject: Subject, item: Item) -> bool:
    """Tell whether a dependency of the routes, or of the app, limits them."""
    scoped = (layer.use for layer in subject.scope_of(item))
    uses = (*item.dependencies, *subject.section("app").dependencies, *scoped)
    return any(subject.role_at(use) == "limiter" for use in uses)


def _login_paths(subject: Subject, item: Item) -> list[str]:
    """Return where an entry logs users in: what its code is called does not tell, its paths do."""
    prefix = (_text(item, "prefix") or _text(item, "mount")).rstrip("/")
    paths = [f"{prefix}{path}" for path in subject.posted_paths(item)]
    return [path for path in paths or [prefix] if _LOGIN.search(path)]


def _within(pattern: str, path: str) -> bool:
    """Tell whether a pattern such as `POST /auth/*` or `/health/*` speaks of `path`."""
    place = pattern.rpartition(" ")[2].rstrip("*").rstrip("/")
    return bool(place) and (path == place or path.startswith(place + "/") or place.startswith(path))


def _naming(item: Item) -> str:
    return f"{item.id} {item.use} {_text(item, 'prefix')}"


def _text(item: Item, key: str) -> str:
    node = item.node.get(key)
    return str(node.value) if isinstance(node, ScalarNode) and node.value is not None else ""


RULES = (
    AuditRule(
        "no-rate-limit",
        "medium",
        "one caller can then use up what all others need",
        "add a rate limit inside the layers that log and set headers",
        _no_limit,
        SERVED,
    ),
    AuditRule(
        "login-unlimited",
        "high",
        "passwords and codes are guessed by trying many",
        'give the limiter a rule such as `{match: "POST /auth/*", limit: 10/minute}`',
        _logins,
        SERVED,
    ),
    AuditRule(
        "limiter-before-proxy-headers",
        "high",
        "it sees the proxy's address in every request: all clients share one bucket",
        "move the proxy headers above it",
        _before_proxy,
    ),
    AuditRule(
        "limiter-without-proxy",
        "medium",
        "behind a proxy that ends TLS, every request has the proxy's address: all share one bucket",
        'say who the proxy is: `server: {forwarded_allow_ips: "10.0.0.0/8"}`',
        _without_proxy,
        PROD,
    ),
    AuditRule(
        "proxy-trusts-everyone",
        "high",
        "a caller writes an address of its choice into X-Forwarded-For, and no limit holds",
        "list the addresses or networks of the proxies",
        _trusts_all,
        SERVED,
    ),
    AuditRule(
        "limiter-fails-open",
        "medium",
        "who can overload the store has then no limit at all",
        "write `on_store_error: local`, which counts in this process meanwhile",
        _fails_open,
        SERVED,
    ),
    AuditRule(
        "exempts-everything",
        "high",
        "a layer without any path left does nothing",
        "name the paths that need the exception",
        _exempt,
    ),
    AuditRule(
        "limiter-counts-probes",
        "low",
        "probes come often and from one address; a 429 to one restarts a healthy process",
        "add the path to `exempt`",
        _probes,
        PROD,
    ),
    AuditRule(
        "no-body-limit",
        "medium",
        "a body without an end fills the memory of the process that reads it",
        "add a layer that refuses long bodies",
        _no_body,
        PROD,
    ),
    AuditRule(
        "body-limit-huge",
        "medium",
        "some such bodies at once fill the memory of the process",
        "set what the routes need, and exempt the one that takes uploads",
        _huge_body,
        SERVED,
    ),
    AuditRule(
        "no-request-timeout",
        "low",
        "requests that wait for ever hold connections and memory until nothing is left",
        "add a layer that ends requests which take too long",
        _no_time,
        PROD,
    ),
)
