"""Names → whether their values are secrets; text that may hold a secret → the same text without it.

In: the name of a variable, an option, a query parameter or a header; any line that is about to be
shown. Out: the one judgement of names that every reader takes; the line with the password part of each
URL, what stands alone before a web address's `@`, and the value of each query parameter that is named
like a credential, covered by `*`, as wide as it was, so that a caret below still points right. A
reference such as `${PASSWORD}` stays: it is what one should write.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, quote_plus, unquote_plus

Column = Literal["variable", "option", "parameter", "header"]

# A word of a name → the columns in which it tells of a secret, wherever it stands in the name; by
# the first letters of the columns. A word may also be glued to one before it: `PGPASSWORD`.
_WORDS = {
    **dict.fromkeys(("password", "passwd", "passphrase", "passcode", "pwd"), "voph"),
    **dict.fromkeys(("secret", "token", "credential", "authorization", "apikey", "cred"), "voph"),
    **dict.fromkeys(("jwt", "bearer", "pepper", "salt", "otp", "totp", "pin", "mnemonic"), "voph"),
}
_GLUED = re.compile(
    r"\w+(?:password|passwd|passphrase|secret|token|apikey|credential)\Z"
    r"|\w*(?:access|secret|private|session|signing|encryption|master|hmac|fernet|cipher|auth)key\Z"
)
# The last words of a name → the same; the longest row that fits tells.
_ENDINGS = {
    **dict.fromkeys(("auth", "pass", "userpass", "sshpass", "signature", "sig"), "voph"),
    "pat": "v",  # a personal access token, as in `GITHUB_PAT`
    "key": "voph",
    "access key id": "v",
    "session id": "ph",
    "sessionid": "ph",
    "session cookie": "vh",
    "cookie": "vh",  # an option of that name says what a cookie is called
    "auth code": "voph",
    "authorization code": "voph",
    "code verifier": "voph",
    "assertion": "op",
    "saml response": "p",
    "samlresponse": "p",
    "seed phrase": "voph",
    "connection string": "v",
    **dict.fromkeys(
        ("dsn", "url", "uri"), "v"
    ),  # which may hold a password; elsewhere its form tells
}
# Whole names → the same, in place of what their words tell.
_WHOLE = {
    "pwd": "oph",  # the variable is the current folder
    "oldpwd": "",
    "key": "vp",  # the option of a limiter says what it counts by
    "keys": "vop",
    "code": "p",  # of OAuth; `country_code` is none
    "session": "p",
    "sid": "op",
    "ticket": "p",
}
# `token_url` and `secret_name` tell about a secret, and hold none.
_ABOUT = re.compile(
    r"(?:ur[il]|header|name|lifetime|ttl|path|file|dir|directory|folder|scope|type|field|cookie|env"
    r"|variable|parameter|param|byte|bit|prefix|suffix|algorithm|alg|endpoint|issuer|audience|timeout"
    r"|interval|rotation|id|limit|length|expire|expiry|expiration|second|minute|hour|day|at|in|size"
    r"|count|max|min|required|enabled|disabled|optional|allowed|policy|format|location|provider"
    r"|manager|backend|store|class|factory|function|func|callback|validator|pattern|regex|version"
    r"|budget|usage|hint|label|description|kind|round|iteration|window|server|service|template|method"
    r"|mode|leeway|claim|strategy|rule|check)s?"
)
_AMOUNTS = frozenset(
    ["max", "min", "maximum", "minimum", "num", "number", "count", "total", "limit", "remaining"]
)
# `public_key`, `cache_key`, `Idempotency-Key`: keys that open nothing.
_OPEN_KEYS = frozenset(
    [
        "public",
        "pub",
        "primary",
        "foreign",
        "partition",
        "sort",
        "cache",
        "routing",
        "idempotency",
        "dedup",
        "lookup",
        "group",
        "order",
        "row",
        "column",
        "map",
        "dict",
        "index",
        "unique",
        "natural",
        "object",
        "storage",
        "join",
        "translation",
        "message",
        "event",
        "metric",
        "label",
        "json",
        "yaml",
        "config",
        "field",
        "registry",
        "parent",
        "surrogate",
        "websocket",
        "hot",
        "shortcut",
        "rate",
        "limit",
        "limiter",
        "bucket",
        "answer",
        "i18n",
    ]
)
_RUNS = re.compile(r"[A-Za-z]+")  # `PassWord` is one word, whatever its capitals say
_SPLIT = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")

# Every run is bounded, so that no line, however hostile, takes long.
# Greedy up to the last `@`: SQLAlchemy reads `p@ss/word` in `://u:p@ss/word@host` as one password.
_INNER_QUOTE = r"[\"'](?![\s,;:)\]}]|$)"  # any other closes the text that the URL stands in
_URL_PASSWORD = re.compile(
    rf"(://(?:[^\s:/?#@\"']|{_INNER_QUOTE}){{0,256}}:)((?:[^\s\"']|{_INNER_QUOTE}){{0,1024}})(?=@)"
)
_URL_TOKEN = re.compile(r"(https?://)([^\s:/?#@\"']{1,1024})(?=@)", re.IGNORECASE)
_PARAMETER = re.compile(r"[?&;#]([^?&;#=\s\"']{1,256})=")
_LIBPQ = re.compile(r"(?<![\w.])(?:ssl)?passw(?:or)?d=")  # `host=db password=…`
_VALUE = re.compile(rf"(?:[^&\s\"'#]|{_INNER_QUOTE})+")
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_SHORT = 6
_LEAST_KEY = 24  # characters of secrets that nobody guesses together
_SHORTEST_CREDENTIAL = 4  # characters


@lru_cache(maxsize=4096)
def is_secret(name: str, column: Column) -> bool:
    """Tell whether `name` says that its value is a credential, as the name of what `column` says.

    `password`, `apiKey`, `jwt_secret` and `X-Auth-Token` are anywhere; the parameter `code` is, the
    option `key` is not.
    """
    words = [word for each in _SPLIT.findall(name) if (word := each.lower().rstrip("0123456789"))]
    whole = _WHOLE.get("_".join(words))
    if whole is not None or not words:
        return column[0] in (whole or "")
    for start in range(max(0, len(words) - 3), len(words)):
        row = _ENDINGS.get(" ".join([*words[start:-1], _singular(words[-1])]))
        if row is not None and column[0] in row:
            is_open = words[-1] in {"key", "keys"} and not _OPEN_KEYS.isdisjoint(words[-2:-1])
            return not is_open and _AMOUNTS.isdisjoint(words)
    if _ABOUT.fullmatch(words[-1]) or not _AMOUNTS.isdisjoint(words):
        return False
    return any(
        column[0] in _WORDS.get(_singular(word), "") or _GLUED.match(_singular(word))
        for word in (*words, *map(str.lower, _RUNS.findall(name)))
    )


def is_about(name: str) -> bool:
    """Tell whether `name` says something about what it names: `min_length`, `token_url`, `ttl`."""
    words = _SPLIT.findall(name)
    return bool(words) and _ABOUT.fullmatch(words[-1].lower()) is not None


def holds_address(name: str) -> bool:
    """Tell whether a variable holds a web address or one of a database: its form tells of a secret."""
    words = _SPLIT.findall(name)
    return bool(words) and _singular(words[-1].lower()) in {"url", "uri", "dsn"}


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def redact(text: str) -> str:
    """Cover URL passwords and credential-like query values in `text`, keeping its width."""
    if "://" in text:
        text = _URL_TOKEN.sub(_cover, _URL_PASSWORD.sub(_cover, text))
    if "=" in text:
        parts, at = [], 0
        for start, end in _parameters(text):
            parts += [text[at:start], covered(text[start:end])]
            at = end
        text = "".join([*parts, text[at:]])
    return text


def url_secrets(text: str) -> Iterable[str]:
    """Yield what `redact` would cover in `text`."""
    found = [match[2] for each in (_URL_PASSWORD, _URL_TOKEN) for match in each.finditer(text)]
    for secret in (*found, *(text[start:end] for start, end in _parameters(text))):
        if secret and not _REFERENCE.search(secret):
            yield secret


def covered(text: str) -> str:
    """Cover all but the references of a text, keeping its width."""
    parts, at = [], 0
    for kept in _REFERENCE.finditer(text):
        parts += ["*" * (kept.start() - at), kept[0]]
        at = kept.end()
    return "".join(parts) + "*" * (len(text) - at)


def _parameters(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the values of parameters stand that are named like credentials, in order."""
    heads = [
        *(head.end() for head in _PARAMETER.finditer(text) if _is_secret_parameter(head[1])),
        *(head.end() for head in _LIBPQ.finditer(text)),
    ]
    last = 0
    for start in sorted(set(heads)):
        value = _VALUE.match(text, start) if start >= last else None
        if value is not None:
            last = value.end()
            yield start, last


def _is_secret_parameter(name: str) -> bool:
    return is_secret(unquote_plus(name), "parameter")


def _cover(match: re.Match[str]) -> str:
    return match[1] + covered(match[2])


class Secrets:
    """Values that must not be shown, each with the reference that is shown in its place."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str, shown: str) -> None:
        """Show `shown` wherever `value` would appear; an empty value is no secret."""
        if value and value not in self._shown:
            for form in _forms(value):
                self._shown.setdefault(form, shown)
            self._pattern = None

    def add_credentials(self, environment: Mapping[str, str]) -> None:
        """Hide the variables that are named like credentials, which others' code reads itself."""
        for name, value in environment.items():
            if len(value) >= _SHORTEST_CREDENTIAL and is_secret(name, "variable"):
                for secret in (value, *url_secrets(value)):
                    self.add(secret, f"${{{name}}}")

    def key(self) -> bytes:
        """Return a key for hashes that processes with the same secrets share.

        Where there are too few to keep it secret, each process has one of its own.
        """
        known = "\0".join(sorted(self._shown))
        if len(known) < _LEAST_KEY:
            return secrets.token_bytes(32)
        return hashlib.sha256(known.encode("utf-8", "surrogatepass")).digest()

    def scrub(self, text: str) -> str:
        """Return `text`, as an exception or a log line has it, with every secret replaced.

        A value of less than six characters is replaced only where it stands as a whole word:
        `PORT=80` must not turn every `80` inside other numbers into a reference.
        """
        if self._shown:
            self._pattern = self._pattern or re.compile("|".join(self._alternatives()))
            text = self._pattern.sub(lambda match: self._shown[match[0]], text)
        return redact(text)

    def _alternatives(self) -> Iterable[str]:
        for value in sorted(self._shown, key=len, reverse=True):
            escaped = re.escape(value)
            yield escaped if len(value) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"


def _forms(value: str) -> Iterable[str]:
    """Yield `value` as it stands, and as messages, `repr`, JSON and URLs write it."""
    yield value
    if not value.strip():
        return
    written = (
        value,
        repr(value)[1:-1],
        repr(f'"{value}')[2:-1],  # inside a text that has quotes of both kinds
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, errors="surrogatepass"),
        quote(value, safe="", errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
    )
    for form in written:
        yield form
        yield " ".join(form.split())  # a message is told in one line
