"""Rules about headers, pages, hosts and texts that the service shows to strangers.

In: a `Subject`. Out: sightings. Sources: OWASP's secure headers project and its cheat sheets on
sessions and errors.
"""

import re
from collections.abc import Iterator

from assembler.document.provenance import Unknown
from assembler.review.audit.rule import DEV, SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_MAX_AGE = re.compile(r"max-age\s*=\s*\"?(\d{1,12})", re.IGNORECASE)
_HALF_YEAR = 15_768_000  # seconds
_UNSAFE = re.compile(
    r"(?:default|script)-src[^;]*(?:'unsafe-(?:inline|eval)'|\s\*(?=[\s;]|$)|\shttps?:(?=[\s;]|$))",
    re.IGNORECASE,
)
_SHOWING = frozenset({"show_text", "show_traceback", "show_exception", "include_traceback"})


def _no_headers(subject: Subject) -> Iterator[Sighting]:
    yield from subject.lacking("security-headers", "no layer sets security headers")


def _passed_by(subject: Subject) -> Iterator[Sighting]:
    for item in subject.middleware:
        if subject.closes_send(item):
            message = f"the answer to an unhandled exception has nothing of what {item.called} adds"
            yield Sighting(item.span, message)


def _hsts(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("security-headers"):
        value = item.value("hsts", "unsaid")
        age = _MAX_AGE.search(value) if isinstance(value, str) else None
        if value is None or value is False:
            yield Sighting(item.place("hsts"), f"{item.called} sends no Strict-Transport-Security")
        elif age and int(age[1]) < _HALF_YEAR:
            message = f"Strict-Transport-Security of {item.called} ends in less than half a year"
            yield Sighting(item.place("hsts"), message)


def _csp(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("security-headers"):
        value = item.value("csp", "unsaid")
        if value is None or value is False:
            yield Sighting(item.place("csp"), f"{item.called} sends no Content-Security-Policy")


def _unsafe_csp(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("security-headers"):
        value = item.value("csp")
        if isinstance(value, str) and _UNSAFE.search(value):
            message = f"the Content-Security-Policy of {item.called} lets injected scripts run"
            yield Sighting(item.place("csp"), message)


def _docs(subject: Subject) -> Iterator[Sighting]:
    openapi = subject.section("app", "openapi")
    pages = (openapi.value("docs", "/docs"), openapi.value("redoc", "/redoc"))
    shown = [f"`{subject.front}{page}`" for page in pages if page and not isinstance(page, Unknown)]
    if openapi.value("path", "/openapi.json") and shown:
        message = f"anyone may read the documentation at {' and '.join(shown)}"
        yield Sighting(subject.place("app", "openapi"), message)
    for item in subject.routes:
        guards = {subject.role(layer) for layer in subject.scope_of(item)}
        if subject.says(item, "shows_documentation") and not guards & {"auth", "allow-list"}:
            yield Sighting(item.span, f"anyone may read the documentation that {item.called} shows")


def _debug(subject: Subject) -> Iterator[Sighting]:
    app = subject.section("app")
    if app.flag("debug"):
        yield Sighting(app.place("debug"), "the application runs with `debug`")
    for item in subject.items:
        if item.flag("debug"):
            yield Sighting(item.place("debug"), f"{item.called} runs with `debug`")


def _development_only(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        if subject.says(item, "development_only"):
            yield Sighting(item.span, f"{item.called} is for development alone")


def _private(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        if item.value("allow_private") not in ([], "", None):
            message = f"{item.called} may ask addresses that are not of the public internet"
            yield Sighting(item.place("allow_private"), message)


def _texts(subject: Subject) -> Iterator[Sighting]:
    for item in subject.sections["exception_handlers"]:
        for key in sorted(_SHOWING & item.options.members.keys()):
            if item.flag(key):
                message = f"{item.called} shows the text of an exception"
                yield Sighting(item.place(key), message)


def _reload(subject: Subject) -> Iterator[Sighting]:
    if subject.server.flag("reload"):
        message = "the server watches its files and starts anew when one changes"
        yield Sighting(subject.server.place("reload"), message)


def _verbose(subject: Subject) -> Iterator[Sighting]:
    level = subject.server.value("log_level")
    if str(level).lower() in {"debug", "trace"}:
        yield Sighting(subject.server.place("log_level"), f"the server logs at `{level}`")
    for item in subject.resources:
        if item.flag("echo"):
            yield Sighting(item.place("echo"), f"{item.called} logs every statement")


def _hosts(subject: Subject) -> Iterator[Sighting]:
    if subject.profile == "prod":
        yield from subject.lacking("host", "no layer checks the Host header")


def _any_host(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("host"):
        if "*" in item.texts("allowed_hosts") or not item.has("allowed_hosts"):
            yield Sighting(item.place("allowed_hosts"), f"{item.called} lets every Host pass")


def _cookie(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("session"):
        if subject.takes(item, "https_only") and item.value("https_only", default=False) is False:
            message = f"the cookie of {item.called} also travels without encryption"
            yield Sighting(item.place("https_only"), message)


def _cross_site(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("session"):
        if str(item.value("same_site", "lax")).lower() == "none":
            message = f"the cookie of {item.called} is sent with requests of every site"
            yield Sighting(item.place("same_site"), message)


def _listens(subject: Subject) -> Iterator[Sighting]:
    host = subject.server.value("host")
    if isinstance(host, str) and host in {"0.0.0.0", "::", ""}:  # noqa: S104  # it is what is told
        message = "the server of development answers the whole network"
        yield Sighting(subject.server.place("host"), message)


RULES = (
    AuditRule(
        "no-security-headers",
        "medium",
        "browsers then guess types, show the pages in frames and run what is injected",
        "add a layer that sets them, outside all that answers",
        _no_headers,
        SERVED,
    ),
    AuditRule(
        "missing-on-errors",
        "low",
        "such a layer sends nothing more once an exception has passed it, as `BaseHTTPMiddleware`",
        "write it as a pure ASGI class, or take one that is",
        _passed_by,
        SERVED,
    ),
    AuditRule(
        "hsts-off",
        "medium",
        "a first request without encryption can be kept from ever being redirected",
        'leave it as it is by default, or write `hsts: "max-age=63072000; includeSubDomains"`',
        _hsts,
        SERVED,
    ),
    AuditRule(
        "csp-off",
        "medium",
        "without a policy a browser runs whatever script an attacker gets into an answer",
        "leave it as it is by default, or name the sources that pages need",
        _csp,
        SERVED,
    ),
    AuditRule(
        "csp-unsafe",
        "medium",
        "`'unsafe-inline'`, `'unsafe-eval'` and `*` take away what the policy is for",
        "name hosts, hashes or nonces; give the documentation pages a policy of their own",
        _unsafe_csp,
        SERVED,
    ),
    AuditRule(
        "docs-in-production",
        "medium",
        "the pages tell strangers every route and model, and FastAPI's own load scripts from elsewhere",
        "write `openapi: {docs: null, redoc: null}`, or `path: null` as well; leave out what else shows it",
        _docs,
        SERVED,
    ),
    AuditRule(
        "debug-on",
        "high",
        "what debugging shows helps an attacker: tracebacks, paths, values",
        "remove it here; keep it in the manifest of development",
        _debug,
        SERVED,
    ),
    AuditRule(
        "development-only",
        "high",
        "it only pretends to do its work: what it is given reaches nobody",
        "use the real one here; keep it in the manifest of development",
        _development_only,
        SERVED,
    ),
    AuditRule(
        "private-addresses-fetched",
        "high",
        "a page, or a redirect, of others then leads our own requests to servers behind the firewall",
        "leave `allow_private` out here; keep it in the manifest of development",
        _private,
        SERVED,
    ),
    AuditRule(
        "exception-text-shown",
        "medium",
        "texts of exceptions quote queries, paths and what other users sent",
        "answer with words of your own; the text is in the log",
        _texts,
        SERVED,
    ),
    AuditRule(
        "reload-on",
        "high",
        "who can write a file there runs code, and a single process serves all",
        "remove `reload`",
        _reload,
        SERVED,
    ),
    AuditRule(
        "verbose-logs",
        "low",
        "logs of that kind have headers and parameters in them, and with those credentials",
        "write `info`, or leave it out",
        _verbose,
        SERVED,
    ),
    AuditRule(
        "hosts-not-checked",
        "low",
        "links and redirects made from an unchecked Host lead where a stranger wants",
        "add `starlette.middleware.trustedhost.TrustedHostMiddleware` with `allowed_hosts`",
        _hosts,
        SERVED,
    ),
    AuditRule(
        "any-host",
        "medium",
        "a layer that lets every Host pass checks nothing",
        "list the names of the service in `allowed_hosts`",
        _any_host,
        SERVED,
    ),
    AuditRule(
        "session-cookie-insecure",
        "high",
        "one request without `https` gives the session to who listens",
        "write `https_only: true`",
        _cookie,
        SERVED,
    ),
    AuditRule(
        "session-cookie-cross-site",
        "medium",
        "any page can then make requests in the name of its visitor",
        "write `same_site: lax` or `strict`",
        _cross_site,
        SERVED,
    ),
    AuditRule(
        "dev-on-every-address",
        "medium",
        "what development shows, and its logins without passwords, are for this machine",
        "write `host: 127.0.0.1`",
        _listens,
        DEV,
    ),
)
