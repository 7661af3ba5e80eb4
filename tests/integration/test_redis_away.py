"""Redis that dies for a while under load, with the rate limit and the cache in it."""

from pathlib import Path

from tests.integration.load import load
from tests.integration.serving import serving, until
from tests.servers import start_redis

MANIFEST = """
    resources:
      cache: {{use: components.cache.redis_cache, with: {{url: "URL"}}, on_error: degrade}}
    middleware:
      - use: components.middleware.rate_limit.RateLimitMiddleware
        with: {{limit: 50/hour, store: "${{resources.cache}}", exempt: ["/health/*"]}}
    routes:
      - {{use: components.health.router, prefix: /health, with: {{cache: 50ms}}}}
      - {{use: tests.integration.cached.router}}
    server: {{port: {port}, workers: {workers}, {server}}}
"""


def test_a_redis_that_dies_under_load_makes_no_500_and_comes_back(tmp_path: Path) -> None:
    with start_redis() as redis:
        text = MANIFEST.replace("URL", redis.url)
        with serving("uvicorn", tmp_path, "log_level: info", text) as server:
            with load(f"{server.url}/cached") as asked:
                until(lambda: asked.answers[429] >= 20, "the limit")
                redis.kill()
                until(
                    lambda: server.json("/health/ready")["status"] == "degraded", "a degraded cache"
                )
                before = asked.answers.total()
                until(lambda: asked.answers.total() >= before + 100, "answers without Redis")
                assert server.status("/health/ready") == 200
                redis.start()
                until(lambda: server.json("/health/ready")["status"] == "ready", "the return")
                before = asked.answers.total()
                until(lambda: asked.answers.total() >= before + 100, "answers with Redis")
            assert asked.answers.keys() == {200, 429}
            # this process's memory limited meanwhile, and Redis began anew
            assert 50 <= asked.answers[200] <= 150
