"""What a component's constructor refuses about one value, `check` refuses at that value's place.

The annotation declares it, so that the editor's schema and `check` know it as well; the constructor
keeps its own refusal, for whoever uses it without a manifest.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from assembler.diagnostics.errors import ManifestError
from assembler.plan.allow_list import ImportList
from assembler.plan.importer import import_object
from assembler.plan.load import load

LAYERS = "components.middleware"
GOOD: dict[str, dict[str, Any]] = {
    f"{LAYERS}.rate_limit.RateLimitMiddleware": {"limit": "5/minute"},
    f"{LAYERS}.request_logging.RequestLoggingMiddleware": {},
    f"{LAYERS}.ip_allow_list.IPAllowListMiddleware": {"allow": ["10.0.0.0/8", "unix"]},
    f"{LAYERS}.request_timeout.RequestTimeoutMiddleware": {"timeout": "5s"},
    f"{LAYERS}.body_limit.BodyLimitMiddleware": {"max_bytes": 1},
    f"{LAYERS}.request_id.RequestIDMiddleware": {},
    f"{LAYERS}.api_key.APIKeyMiddleware": {"keys": {"a": "0" * 64}},
    f"{LAYERS}.cache_control.CacheControlMiddleware": {},
    f"{LAYERS}.webhook_signature.WebhookSignatureMiddleware": {
        "secrets": ["a secret of some length that is long enough"],
        "paths": ["POST /hooks/*"],
    },
    f"{LAYERS}.trailing_slash.StripTrailingSlashMiddleware": {},
    f"{LAYERS}.security_headers.SecurityHeadersMiddleware": {},
    f"{LAYERS}.cors.CORSMiddleware": {},
    "components.metrics.MetricsMiddleware": {},
    "components.database.engine": {"url": "sqlite+aiosqlite://"},
    "components.cache.redis_cache": {"url": "redis://localhost"},
    "components.cache.memory_cache": {},
    "components.rate_limit.redis.RedisStore": {"url": "redis://localhost"},
    "components.threads.pool": {},
}
BAD = [
    *(("rate_limit.RateLimitMiddleware", "exempt", [bad], 0) for bad in ("/a*", "a", "get /a")),
    ("rate_limit.RateLimitMiddleware", "routes", [{"match": "/x y", "limit": "5/minute"}], (0, "match")),
    ("rate_limit.RateLimitMiddleware", "routes", [{"match": "/x", "limit": "5/age"}], (0, "limit")),
    ("rate_limit.RateLimitMiddleware", "routes", [{"match": "/x", "cost": 0}], (0, "cost")),
    ("rate_limit.RateLimitMiddleware", "limit", "5", ()),
    ("rate_limit.RateLimitMiddleware", "limit", [], ()),
    ("rate_limit.RateLimitMiddleware", "key", "header:", ()),
    ("request_logging.RequestLoggingMiddleware", "exclude", ["/ok", "/a*"], 1),
    ("request_logging.RequestLoggingMiddleware", "sample", 2.0, ()),
    ("request_logging.RequestLoggingMiddleware", "max_length", 3, ()),
    ("ip_allow_list.IPAllowListMiddleware", "allow", [], ()),
    ("ip_allow_list.IPAllowListMiddleware", "allow", ["10.0.0.0/8", "nowhere"], 1),
    ("ip_allow_list.IPAllowListMiddleware", "allow", ["10.0.0.1/8"], 0),
    ("ip_allow_list.IPAllowListMiddleware", "paths", ["/a*"], 0),
    ("request_timeout.RequestTimeoutMiddleware", "exempt", ["/a*"], 0),
    ("body_limit.BodyLimitMiddleware", "exempt", ["/a*"], 0),
    ("body_limit.BodyLimitMiddleware", "max_bytes", -1, ()),
    ("request_id.RequestIDMiddleware", "header", "a b", ()),
    ("request_id.RequestIDMiddleware", "trust", ["nobody"], 0),
    ("request_id.RequestIDMiddleware", "max_length", 0, ()),
    ("api_key.APIKeyMiddleware", "keys", {}, ()),
    ("api_key.APIKeyMiddleware", "keys", {"a": "zz"}, "a"),
    ("api_key.APIKeyMiddleware", "header", "a b", ()),
    ("api_key.APIKeyMiddleware", "exempt", ["/a*"], 0),
    ("cache_control.CacheControlMiddleware", "rules", [{"match": "/a b", "cache": "x"}], (0, "match")),
    ("cache_control.CacheControlMiddleware", "rules", [{"match": "/a", "cache": "x\ny"}], (0, "cache")),
    ("cache_control.CacheControlMiddleware", "cdn_header", "a b", ()),
    ("cache_control.CacheControlMiddleware", "etag_max_bytes", -1, ()),
    ("webhook_signature.WebhookSignatureMiddleware", "secrets", [""], 0),
    ("webhook_signature.WebhookSignatureMiddleware", "paths", ["/a b"], 0),
    ("webhook_signature.WebhookSignatureMiddleware", "signature_header", "a b", ()),
    ("trailing_slash.StripTrailingSlashMiddleware", "exempt", ["x"], 0),
    ("trailing_slash.StripTrailingSlashMiddleware", "exempt", ["/a*"], 0),
    ("security_headers.SecurityHeadersMiddleware", "hsts", "always", ()),
    ("security_headers.SecurityHeadersMiddleware", "csp", "a\nb", ()),
    ("security_headers.SecurityHeadersMiddleware", "referrer_policy", "", ()),
    ("security_headers.SecurityHeadersMiddleware", "docs_paths", ["/a*"], 0),
    ("cors.CORSMiddleware", "public", ["/a*"], 0),
    ("cors.CORSMiddleware", "allow_origin_regex", "(", ()),
    ("components.metrics.MetricsMiddleware", "buckets", [3, 2], ()),
    ("components.metrics.MetricsMiddleware", "exempt", ["/a*"], 0),
    ("components.database.engine", "url", "nothing", ()),
    ("components.database.engine", "url", "postgresql://h/d?no_such=1", ()),
    ("components.database.engine", "pool_size", 0, ()),
    ("components.cache.redis_cache", "url", "http://x", ()),
    ("components.cache.redis_cache", "max_connections", 0, ()),
    ("components.cache.memory_cache", "max_entries", 0, ()),
    ("components.rate_limit.redis.RedisStore", "url", "redis://h?no_such=1", ()),
    ("components.threads.pool", "workers", 0, ()),
]  # fmt: skip


def entry(use: str, options: dict[str, Any]) -> tuple[str, tuple[str | int, ...]]:
    """The text of a manifest with one entry, a value on each line, and the path of the entry."""
    said = {"use": use, "with": options}
    is_layer = use.endswith("Middleware")
    section: Any = {"middleware": [said]} if is_layer else {"resources": {"a": said}}
    path = ("middleware", 0) if is_layer else ("resources", "a")
    return json.dumps({"manifest": 1, **section}, indent=1), path


@pytest.mark.parametrize("use", GOOD)
def test_the_good_values_are_taken(use: str, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(entry(use, GOOD[use])[0])
    load(tmp_path / "m.yaml")


@pytest.mark.parametrize(("name", "option", "bad", "place"), BAD)
def test_check_refuses_what_the_constructor_refuses_at_its_value(
    name: str, option: str, bad: object, place: Any, tmp_path: Path
) -> None:
    use = name if name.startswith("components.") else f"{LAYERS}.{name}"
    options = {**GOOD[use], option: bad}
    text, _ = entry(use, options)
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ManifestError) as caught:
        load(tmp_path / "m.yaml")
    (fault,) = caught.value.diagnostics
    assert fault.code == "bad-value"
    steps = place if isinstance(place, tuple) else (place,)
    assert fault.message.startswith(f"`{'.'.join(map(str, (option, *steps)))}` of `")
    assert fault.span is not None
    value = bad
    for step in steps:
        value = value[step]  # type: ignore[index]  # the path of this very value
    written = text.splitlines()[fault.span.line - 1]
    is_inline = not isinstance(value, list | dict) or not value
    assert (json.dumps(value) if is_inline else f'"{option}"') in written


@pytest.mark.parametrize(("name", "option", "bad", "place"), BAD)
def test_the_constructor_refuses_it_without_a_manifest(
    name: str, option: str, bad: object, place: object
) -> None:
    use = name if name.startswith("components.") else f"{LAYERS}.{name}"
    options = {**GOOD[use], option: bad}
    if "timeout" in options:
        pytest.skip("a duration is a `timedelta` there")
    made = import_object(use, ImportList(None, None))
    arguments = [object()] if use.endswith("Middleware") else []
    with pytest.raises((ValueError, TypeError, re.error)):
        made(*arguments, **options)
