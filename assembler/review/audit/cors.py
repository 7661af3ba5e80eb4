"""Rules about which sites' scripts may read answers.

In: a `Subject`. Out: sightings. An origin that a variable gives is not judged. Sources: the Fetch
standard on CORS, and OWASP's HTML5 security cheat sheet.
"""

import re
from collections.abc import Iterator

from assembler.review.audit.item import Item
from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_ANYTHING = re.compile(r"\^?\(?(https?\??)?(:(\\?/){2})?\(?\.[*+]\??\)*\$?")
_REFUSING = frozenset(
    {"limiter", "body-limit", "timeout", "auth", "allow-list", "signature", "csrf", "host"}
)


def _layers(subject: Subject) -> list[Item]:
    return subject.each_layer("cors")


def _any_origin(item: Item) -> bool:
    return "*" in item.texts("allow_origins")


def _with_credentials(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        if item.flag("allow_credentials"):
            for key in ("allow_origins", "allow_origin_regex"):
                if (key == "allow_origins" and _any_origin(item)) or _open_regex(item, key):
                    message = (
                        f"{item.called} lets every site read answers made for a user's cookies"
                    )
                    yield Sighting(item.place(key), message)


def _without_credentials(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        if _any_origin(item) and not item.flag("allow_credentials"):
            yield Sighting(
                item.place("allow_origins"), f"{item.called} lets every site read answers"
            )


def _by_regex(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        if _open_regex(item, "allow_origin_regex") and not item.flag("allow_credentials"):
            message = f"the pattern of {item.called} matches every site"
            yield Sighting(item.place("allow_origin_regex"), message)


def _dots(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        text = item.value("allow_origin_regex")
        if isinstance(text, str) and re.search(r"[a-z0-9)]\.[a-z]{2,}", text):
            message = f"a dot in the pattern of {item.called} matches any character"
            yield Sighting(item.place("allow_origin_regex"), message)


def _null(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        if "null" in item.texts("allow_origins"):
            message = f"{item.called} trusts the origin `null`"
            yield Sighting(item.place("allow_origins"), message)


def _plain_http(subject: Subject) -> Iterator[Sighting]:
    for item in _layers(subject):
        if any(text.lower().startswith("http://") for text in item.texts("allow_origins")):
            message = f"{item.called} trusts an origin without encryption"
            yield Sighting(item.place("allow_origins"), message)


def _inside(subject: Subject) -> Iterator[Sighting]:
    for index, item in subject.layers("cors"):
        for other in subject.middleware[:index]:
            if subject.role(other) in _REFUSING:
                message = f"{item.called} stands inside {other.called}"
                yield Sighting(item.span, message)
                break


def _open_regex(item: Item, key: str) -> bool:
    text = item.value(key)
    return isinstance(text, str) and _ANYTHING.fullmatch(text) is not None


RULES = (
    AuditRule(
        "cors-wildcard-credentials",
        "high",
        "the layer answers each asking site by its name, so any site acts as the user it lures",
        "list the origins of your own pages, or leave out `allow_credentials`",
        _with_credentials,
    ),
    AuditRule(
        "cors-any-origin",
        "medium",
        "a page anywhere may read what the API answers to its visitor's network and tokens",
        "list the origins of your own pages",
        _without_credentials,
        SERVED,
    ),
    AuditRule(
        "cors-open-pattern",
        "high",
        "a pattern that matches everything is `*` in other words",
        "write the host out: `https://[a-z0-9-]+\\.example\\.com`",
        _by_regex,
        SERVED,
    ),
    AuditRule(
        "cors-loose-dot",
        "high",
        "`https://app.example.com` as a pattern also matches `https://app-example.com`",
        "write `\\.` for a dot",
        _dots,
        SERVED,
    ),
    AuditRule(
        "cors-null-origin",
        "high",
        "any page can get the origin `null` by a sandboxed frame",
        "take `null` out of `allow_origins`",
        _null,
        SERVED,
    ),
    AuditRule(
        "cors-plain-http",
        "medium",
        "who controls the visitor's network can be that origin, and read the answers",
        "list origins with `https://`; keep those of `localhost` in the manifest of development",
        _plain_http,
        SERVED,
    ),
    AuditRule(
        "cors-inside",
        "medium",
        "a refusal of the outer layer has no CORS headers, so a page sees a network error, "
        "and preflights are counted or refused",
        "move it above the layer that refuses",
        _inside,
    ),
)
