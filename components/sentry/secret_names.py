"""The name of an option, a query parameter or a header → whether its value is a secret.

Who runs without the assembler needs this too, so it is a copy of the assembler's own table, less what
that says of environment variables; `tests/secret_names.yaml` holds the answers of both.
"""

import re
from functools import lru_cache
from typing import Literal

Column = Literal["option", "parameter", "header"]

# These words tell wherever they stand in a name; some also glued to one before: `pgpassword`.
_WORD = re.compile(
    r"\w*(?:password|passwd|passphrase|secret|token|apikey|credential)"
    r"|\w*(?:access|secret|private|session|signing|encryption|master|hmac|fernet|cipher|auth)key"
    r"|passcode|pwd|authorization|jwt|bearer|pepper|salt|otp|totp|pin|mnemonic|cred"
)
# The last words of a name, with the first letters of the columns in which they tell.
_ENDINGS = {
    **dict.fromkeys(
        ("auth", "pass", "userpass", "sshpass", "signature", "sig", "key", "auth code"), "oph"
    ),
    **dict.fromkeys(("authorization code", "code verifier", "seed phrase"), "oph"),
    **dict.fromkeys(("session id", "sessionid"), "ph"),
    **dict.fromkeys(("session cookie", "cookie"), "h"),  # an option says what a cookie is called
    **dict.fromkeys(("saml response", "samlresponse"), "p"),
    "assertion": "op",
}
# Whole names, in place of what their words tell.
_WHOLE = {
    **dict.fromkeys(("key", "code", "session", "ticket"), "p"),  # `country_code` is no secret
    **dict.fromkeys(("keys", "sid"), "op"),
    "oldpwd": "",
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
_AMOUNT = re.compile(r"max|min|maximum|minimum|num|number|count|total|limit|remaining")
# `public_key`, `cache_key`, `Idempotency-Key`: keys that open nothing.
_OPEN = re.compile(
    r"public|pub|primary|foreign|partition|sort|cache|routing|idempotency|dedup|lookup|group|order|row"
    r"|column|map|dict|index|unique|natural|object|storage|join|translation|message|event|metric|label"
    r"|json|yaml|config|field|registry|parent|surrogate|websocket|hot|shortcut|rate|limit|limiter"
    r"|bucket|answer|i18n"
)
_RUNS = re.compile(r"[A-Za-z]+")  # `PassWord` is one word, whatever its capitals say
_SPLIT = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")


@lru_cache(maxsize=4096)
def is_secret(name: str, column: Column) -> bool:
    """Tell whether `name` says that its value is a credential, as the name of what `column` says."""
    words = [word for each in _SPLIT.findall(name) if (word := each.lower().rstrip("0123456789"))]
    whole = _WHOLE.get("_".join(words))
    if whole is not None or not words:
        return column[0] in (whole or "")
    is_amount = any(map(_AMOUNT.fullmatch, words))
    for start in range(max(0, len(words) - 2), len(words)):
        row = _ENDINGS.get(" ".join([*words[start:-1], _singular(words[-1])]))
        if row is not None and column[0] in row:
            is_key = words[-1] in {"key", "keys"}
            return not is_amount and not (is_key and any(map(_OPEN.fullmatch, words[-2:-1])))
    if is_amount or _ABOUT.fullmatch(words[-1]):
        return False
    runs = map(str.lower, _RUNS.findall(name))
    return any(_WORD.fullmatch(_singular(word)) for word in (*words, *runs))


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word
