"""The name of what an entry names → what it is for.

In: nothing. Out: patterns that are searched for in the last part of a `use`. A layer is known by
the name of its class, wherever that comes from: what ships with the project has no privilege.
Refuses nothing.
"""

import re

CORS = re.compile(r"cors", re.IGNORECASE)
LIMITER = re.compile(r"rate_?limit|limiter|throttl", re.IGNORECASE)
HEADERS = re.compile(r"secur\w*headers?|secure_?middleware|helmet", re.IGNORECASE)
PROXY = re.compile(r"proxy_?headers|forwarded", re.IGNORECASE)
BODY = re.compile(
    r"body_?(limit|size)|content_?(size|length)|max_?body|request_?size", re.IGNORECASE
)
TIMEOUT = re.compile(r"time_?out", re.IGNORECASE)
HOSTS = re.compile(r"(trusted|allowed)_?hosts?", re.IGNORECASE)
SESSION = re.compile(r"session", re.IGNORECASE)
GUARD = re.compile(
    r"auth(?!or(?!i))|(?-i:Gate|(?<![a-z])gate)(?!way)|bearer|api_?key|allow_?list|jwt|oidc"
    r"|guard|signature|login",
    re.IGNORECASE,
)
PROBE = re.compile(
    r"(?<![a-z])(health\w*|ready|readiness|live|liveness|probes?)(?![a-z])", re.IGNORECASE
)
MEMORY = re.compile(r"memory|in_?process|local_?cache|lru", re.IGNORECASE)
ENGINE = re.compile(r"engine|create_pool", re.IGNORECASE)
