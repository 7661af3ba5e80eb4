"""Comparisons as a review finds them, for the tests of what is made of them."""

from assembler.review.finding import Comparison, Finding, Grade, Layer, Place

LIMIT = "components.middleware.rate_limit.RateLimitMiddleware"
CORS = "starlette.middleware.cors.CORSMiddleware"
PROXY = "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware"
IDS = "components.middleware.request_id.RequestIDMiddleware"
HEADERS = "components.middleware.security_headers.SecurityHeadersMiddleware"
GZIP = "starlette.middleware.gzip.GZipMiddleware"
LOG = "components.middleware.access_log.AccessLogMiddleware"


def at(line: int, file: str = "manifests/prod.yaml") -> Place:
    return Place(file, line, 7, line, 30)


def layer(use: str, id: str = "", peer: int | None = None, *, moved: bool = False) -> Layer:
    return Layer(f"middleware.{id or use}", id or use, use, peer, moved)


MOVED = Comparison(
    "manifests/prod.yaml",
    "manifests/prod.yaml",
    "manifests/prod.yaml",
    (
        Finding(
            "manifests/prod.yaml",
            Grade.loosened,
            "order-weakens",
            "the rate limit `per-ip` now runs before the proxy headers: all clients share one bucket",
            "middleware.per-ip",
            "middleware.per-ip",
            at(31),
            at(22),
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.loosened,
            "option-loosened",
            "`allow_origins` of `cors` gains `https://*.example.com` and `*`",
            "middleware.cors.with.allow_origins",
            "middleware.cors",
            at(14),
            at(14),
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.review,
            "secret-changed",
            "`url` of resource `db` comes from `${REPLICA_URL}`, it was `${DATABASE_URL}`",
            "resources.db.with.url",
            "resources.db",
            at(7, "manifests/base.yaml"),
            at(7, "manifests/base.yaml"),
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.behaviour,
            "schedule-changed",
            "job `publish-posts` runs 288 times a day, it ran 24 times",
            "scheduler.jobs.publish-posts.cron",
            "scheduler.jobs.publish-posts",
            at(60),
            at(64),
            (
                "before: at 00:00, 01:00, 02:00, 03:00, 04:00 (`0 * * * *`)",
                "after: at 00:05, 00:10, 00:15, 00:20, 00:25 (`*/5 * * * *`)",
            ),
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.behaviour,
            "entry-removed",
            "middleware `starlette.middleware.gzip.GZipMiddleware` is gone",
            f"middleware.{GZIP}",
            f"middleware.{GZIP}",
            at(40),
            None,
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.tightened,
            "protection-added",
            "middleware `security-headers` is new",
            "middleware.security-headers",
            "middleware.security-headers",
            None,
            at(18),
        ),
        Finding(
            "manifests/prod.yaml",
            Grade.cosmetic,
            "option-reordered",
            "`allow_methods` of `cors` is sorted otherwise",
            "middleware.cors.with.allow_methods",
            "middleware.cors",
            at(15),
            at(15),
        ),
    ),
    (
        layer(CORS, "cors", 0),
        layer(PROXY, peer=3),
        layer(LOG, "access-log", 4),
        layer(LIMIT, "per-ip", 1, moved=True),
        layer(GZIP),
        layer(IDS, "request-id", 5),
    ),
    (
        layer(CORS, "cors", 0),
        layer(LIMIT, "per-ip", 3, moved=True),
        layer(HEADERS, "security-headers"),
        layer(PROXY, peer=1),
        layer(LOG, "access-log", 2),
        layer(IDS, "request-id", 5),
    ),
)

ADDED = Comparison(
    "manifests/serverless.yaml",
    None,
    "manifests/serverless.yaml",
    (
        Finding(
            "manifests/serverless.yaml",
            Grade.review,
            "manifest-added",
            "the manifest is new",
            "",
            new=at(1, "manifests/serverless.yaml"),
        ),
    ),
    (),
    (layer(CORS, "cors"), layer(IDS)),
)
REMOVED = Comparison(
    "manifests/old.yaml",
    "manifests/old.yaml",
    None,
    (
        Finding(
            "manifests/old.yaml",
            Grade.review,
            "manifest-removed",
            "the manifest is gone",
            "",
            old=at(1, "manifests/old.yaml"),
        ),
    ),
    (layer(CORS, "cors"),),
)
SAME = Comparison("manifests/dev.yaml", "manifests/dev.yaml", "manifests/dev.yaml", ())


def _shares(manifest: str) -> Comparison:
    found = Finding(
        manifest,
        Grade.loosened,
        "option-loosened",
        "`limit` of `per-ip` is `1000/minute`, it was `500/minute`",
        "middleware.per-ip.with.limit",
        "middleware.per-ip",
        at(9, "manifests/base.yaml"),
        at(9, "manifests/base.yaml"),
    )
    chain = (layer(LIMIT, "per-ip", 0),)
    return Comparison(manifest, manifest, manifest, (found,), chain, chain)


SHARED = [_shares(f"manifests/{name}.yaml") for name in ("dev", "test", "prod")]
COSMETIC = Comparison(
    "manifests/dev.yaml",
    "manifests/dev.yaml",
    "manifests/dev.yaml",
    (
        Finding(
            "manifests/dev.yaml",
            Grade.cosmetic,
            "same-meaning",
            "the text differs and both sides resolve to the same manifest",
            "",
            old=at(1, "manifests/dev.yaml"),
            new=at(1, "manifests/dev.yaml"),
        ),
    ),
)

SETS = {
    "moved": [MOVED],
    "several": [ADDED, MOVED, REMOVED, SAME],
    "shared": SHARED,
    "cosmetic": [COSMETIC],
    "same": [SAME],
    "failed": [SAME],
}
