"""Rules about who says who a caller is: issuers, tokens, secrets that sign, checks that are off.

In: a `Subject`. Out: sightings. Sources: RFC 8725 (best practices for JSON web tokens), RFC 7518,
3.2 (length of keys).
"""

import re
from collections.abc import Iterator

from assembler.document.nodes import ScalarNode, SequenceNode
from assembler.document.provenance import Unknown
from assembler.plan.signature import Target
from assembler.review.audit.item import Item, first_line, seconds_of
from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_VERIFYING = re.compile(
    r"^(verify(_\w+)?|ssl_verify|verify_ssl|tls_verify|check_hostname|validate_certs?"
    r"|auth_required|require_auth|signed|secure)$",
    re.IGNORECASE,
)
_INSECURE = re.compile(
    r"^(insecure(_\w+)?|allow_insecure|skip_verif\w*|disable_auth|no_auth)$", re.IGNORECASE
)
_DAY = 86_400  # seconds


def _dev_issuer(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        if "dev_issuer" in item.use:
            yield Sighting(item.span, f"{item.called} logs anyone in, without a password")


def _far_issuer(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        if "dev_issuer" not in item.use:
            continue
        if item.flag("anyone_may_log_in_as_anyone"):
            message = f"{item.called} may be reached from elsewhere, and asks for no password"
            yield Sighting(item.place("anyone_may_log_in_as_anyone"), message)


def _unverified(subject: Subject) -> Iterator[Sighting]:
    for item in (*subject.items, subject.server):
        for key in item.options.members:
            value = item.value(key)
            is_off = _VERIFYING.match(key) is not None and value is False
            if is_off or (_INSECURE.match(key) is not None and value is True):
                yield Sighting(item.place(key), f"`{key}` of {_of(item)} turns a check off")


def _unsigned(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        for key in ("algorithms", "algorithm", "signing_algorithm"):
            if any(text.lower() == "none" for text in item.texts(key)):
                yield Sighting(item.place(key), f"{item.called} takes tokens that nobody signed")


def _short_secret(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        for key in ("secret", "jwt_secret", "secret_key", "signing_secret", "secrets"):
            node = item.options.get(key)
            nodes = node.items if isinstance(node, SequenceNode) else (node,)
            for one in nodes:
                if isinstance(one, ScalarNode) and _is_short(one.value):
                    message = f"`{key}` of {item.called} is shorter than 32 bytes"
                    yield Sighting(first_line(one.span), message)


def _short_token(subject: Subject) -> Iterator[Sighting]:
    """Find texts, defaults of references too, that are shorter than their component advises."""
    for item in subject.items:
        target = subject.target(item) if item.options.members else None
        known = target.signature.parameters if isinstance(target, Target) else {}
        for name in item.options.members:
            parameter = known.get(name)
            least = parameter.advised_length if parameter else 0
            if any(len(text) < least for text in _known_texts(item.value(name)) if text):
                message = f"`{name}` of {item.called} has under {least} characters"
                yield Sighting(item.place(name), message)


def _known_texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and not isinstance(one, Unknown)]


def _long_tokens(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        for key in ("access_token_lifetime", "access_token_ttl", "token_lifetime"):
            if seconds_of(item.value(key), 0) > _DAY:
                yield Sighting(item.place(key), f"access tokens of {item.called} hold over a day")


def _is_short(value: object) -> bool:
    is_literal = isinstance(value, str) and "${" not in value
    return is_literal and len(str(value).encode("utf-8", "replace")) < 32


def _of(item: Item) -> str:
    return item.called if item.id else f"`{item.section}`"


RULES = (
    AuditRule(
        "dev-issuer",
        "high",
        "an issuer for development gives tokens for any user to anyone who asks",
        "use your identity provider here; keep it in the manifest of development",
        _dev_issuer,
        SERVED,
    ),
    AuditRule(
        "dev-issuer-reachable",
        "high",
        "its login asks for no password, so whoever reaches it is whoever they want to be",
        "remove `anyone_may_log_in_as_anyone`, and let `base_url` be `http://localhost`",
        _far_issuer,
    ),
    AuditRule(
        "verification-off",
        "high",
        "without the check anyone between the two can read and change what they say",
        "leave the check on; name the authority that you trust where it is your own",
        _unverified,
        SERVED,
    ),
    AuditRule(
        "unsigned-tokens",
        "high",
        "with the algorithm `none` anyone writes a token that says they are anyone",
        "list the algorithms that your issuer uses",
        _unsigned,
    ),
    AuditRule(
        "short-signing-secret",
        "high",
        "a short secret is found by trying, from one token that it signed (RFC 7518, 3.2)",
        "use 32 random bytes or more, from a variable",
        _short_secret,
        SERVED,
    ),
    AuditRule(
        "short-token",
        "high",
        "who may ask often enough finds a short token, and then sees what operators see",
        "use 16 random characters or more, from a variable without a default",
        _short_token,
        SERVED,
    ),
    AuditRule(
        "long-access-tokens",
        "medium",
        "a token that was stolen or should be gone works until it ends",
        "let it hold for minutes, and let clients refresh it",
        _long_tokens,
        SERVED,
    ),
)
