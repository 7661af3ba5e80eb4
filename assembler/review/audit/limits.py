"""Rules about what bounds a caller: rates, bodies, time, and by which address a caller is known.

In: a `Subject`. Out: sightings. Refuses nothing. Sources: OWASP API security, API4 (unrestricted
resource consumption) and API2 (broken authentication).
"""

import re
from collections.abc import Iterator

from assembler.document.nodes import ScalarNode
from assembler.document.provenance import Unknown
from assembler.review.audit.item import Item, texts_of
from assembler.review.audit.kinds import BODY, LIMITER, PROBE, PROXY, TIMEOUT
from assembler.review.audit.rule import PROD, SERVED, Rule, Sighting
from assembler.review.audit.subject import Subject

_LOGIN = re.compile(
    r"(?<![a-z])(auth|oauth2?|login|log_?in|sign_?in|sign_?up|token|password|session|otp|mfa)"
    r"(?![a-z])",
    re.IGNORECASE,
)
_ALL = frozenset({"*", "/*", "/", "/**"})
_HUGE = 100 * 1024 * 1024  # bytes


def _no_limit(subject: Subject) -> Iterator[Sighting]:
    if subject.manifest.routes and not subject.layers(LIMITER):
        yield Sighting(subject.place("middleware"), "no layer limits how often a caller may ask")


def _logins(subject: Subject) -> Iterator[Sighting]:
    rules = [text for _, item in subject.layers(LIMITER) for text in _matches(item)]
    for item in subject.routes:
        is_limited = any(_LOGIN.search(text) for text in rules) or _own_limit(item)
        if is_limited or not _LOGIN.search(_naming(item)):
            continue
        prefix = _text(item, "prefix") or _text(item, "mount")
        if not any(prefix and _within(text, prefix) for text in rules):
            yield Sighting(item.span, f"{item.called} logs users in, and has no limit of its own")


def _before_proxy(subject: Subject) -> Iterator[Sighting]:
    proxies = subject.layers(PROXY)
    for index, item in subject.layers(LIMITER):
        if _by_address(item) and proxies and proxies[0][0] > index:
            message = f"{item.called} stands outside {proxies[0][1].called}"
            yield Sighting(item.span, message)


def _without_proxy(subject: Subject) -> Iterator[Sighting]:
    server = subject.server
    is_told = server.has("forwarded_allow_ips") or server.has("ssl_certfile") or server.has("uds")
    if is_told or subject.layers(PROXY):
        return
    for _, item in subject.layers(LIMITER):
        if _by_address(item):
            message = f"{item.called} counts by address, and no proxy is trusted to tell it"
            yield Sighting(item.span, message)
            return


def _trusts_all(subject: Subject) -> Iterator[Sighting]:
    proxies = [(item, "trusted_hosts") for _, item in subject.layers(PROXY)]
    for item, key in [(subject.server, "forwarded_allow_ips"), *proxies]:
        if "*" in item.texts(key):
            yield Sighting(item.place(key), f"`{key}` takes the client's address from anyone")


def _fails_open(subject: Subject) -> Iterator[Sighting]:
    for _, item in subject.layers(LIMITER):
        if item.value("on_store_error") == "allow":
            message = f"{item.called} lets all through while its store is away"
            yield Sighting(item.place("on_store_error"), message)


def _exempt(subject: Subject) -> Iterator[Sighting]:
    for item in subject.middleware:
        if _ALL & set(item.texts("exempt")):
            yield Sighting(item.place("exempt"), f"{item.called} exempts every path")


def _probes(subject: Subject) -> Iterator[Sighting]:
    paths = [_text(item, "prefix") for item in subject.routes if PROBE.search(_naming(item))]
    for _, item in subject.layers(LIMITER):
        exempt = item.texts("exempt")
        for path in paths:
            is_known = not isinstance(item.value("exempt"), Unknown)
            if path and is_known and not any(_within(text, path) for text in exempt):
                yield Sighting(item.span, f"{item.called} counts the probes of `{path}`")
                break


def _no_body(subject: Subject) -> Iterator[Sighting]:
    if subject.manifest.routes and not subject.layers(BODY):
        yield Sighting(subject.place("middleware"), "no layer bounds the body of a request")


def _huge_body(subject: Subject) -> Iterator[Sighting]:
    for _, item in subject.layers(BODY):
        for key in ("max_bytes", "max_body_size", "max_size", "limit"):
            value = item.value(key)
            if isinstance(value, int) and value > _HUGE:
                yield Sighting(item.place(key), f"{item.called} takes bodies of over 100 MiB")


def _no_time(subject: Subject) -> Iterator[Sighting]:
    if subject.manifest.routes and not subject.layers(TIMEOUT):
        yield Sighting(subject.place("middleware"), "no layer bounds the time of a request")


def _by_address(item: Item) -> bool:
    return str(item.value("key", "client_ip")) == "client_ip"


def _matches(item: Item) -> Iterator[str]:
    """Yield the patterns of requests for which a limiter has a limit of their own."""
    rules = item.value("routes")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and "limit" in rule:
            yield str(rule.get("match", ""))


def _own_limit(item: Item) -> bool:
    """Tell whether a dependency of the routes limits them."""
    node = item.node.get("dependencies")
    return node is not None and any(LIMITER.search(text) for text in texts_of(node))


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
    Rule(
        "no-rate-limit",
        "medium",
        "one caller can then use up what all others need",
        "add a rate limit inside the layers that log and set headers",
        _no_limit,
        SERVED,
    ),
    Rule(
        "login-unlimited",
        "high",
        "passwords and codes are guessed by trying many",
        'give the limiter a rule such as `{match: "POST /auth/*", limit: 10/minute}`',
        _logins,
        SERVED,
    ),
    Rule(
        "limiter-before-proxy-headers",
        "high",
        "it sees the proxy's address in every request: all clients share one bucket",
        "move the proxy headers above it",
        _before_proxy,
    ),
    Rule(
        "limiter-without-proxy",
        "medium",
        "behind a proxy that ends TLS, every request has the proxy's address: all share one bucket",
        'say who the proxy is: `server: {forwarded_allow_ips: "10.0.0.0/8"}`',
        _without_proxy,
        PROD,
    ),
    Rule(
        "proxy-trusts-everyone",
        "high",
        "a caller writes an address of its choice into X-Forwarded-For, and no limit holds",
        "list the addresses or networks of the proxies",
        _trusts_all,
        SERVED,
    ),
    Rule(
        "limiter-fails-open",
        "medium",
        "who can overload the store has then no limit at all",
        "write `on_store_error: local`, which counts in this process meanwhile",
        _fails_open,
        SERVED,
    ),
    Rule(
        "exempts-everything",
        "high",
        "a layer without any path left does nothing",
        "name the paths that need the exception",
        _exempt,
    ),
    Rule(
        "limiter-counts-probes",
        "low",
        "probes come often and from one address; a 429 to one restarts a healthy process",
        "add the path to `exempt`",
        _probes,
        PROD,
    ),
    Rule(
        "no-body-limit",
        "medium",
        "a body without an end fills the memory of the process that reads it",
        "add a layer that refuses long bodies",
        _no_body,
        PROD,
    ),
    Rule(
        "body-limit-huge",
        "medium",
        "some such bodies at once fill the memory of the process",
        "set what the routes need, and exempt the one that takes uploads",
        _huge_body,
        SERVED,
    ),
    Rule(
        "no-request-timeout",
        "low",
        "requests that wait for ever hold connections and memory until nothing is left",
        "add a layer that ends requests which take too long",
        _no_time,
        PROD,
    ),
)
