"""Layers of others and what stands in for them, where the meaning is kept."""

from types import SimpleNamespace
from typing import Any

import pytest

from components.rate_limit.rates import parse_rates
from components.replacements import replacement

CORS = "starlette.middleware.cors.CORSMiddleware"
SLOWAPI = "slowapi.middleware.SlowAPIMiddleware"


def limiter(**more: Any) -> dict[str, Any]:
    """What slowapi's limiter has, as far as one asks it."""

    def get_remote_address(request: Any) -> str:
        return ""

    def rate(amount: int, multiples: int, unit: str) -> Any:
        granularity = SimpleNamespace(name=unit)
        item = SimpleNamespace(amount=amount, multiples=multiples, GRANULARITY=granularity)
        return SimpleNamespace(limit=item)

    has = {
        "_application_limits": [[rate(100, 1, "minute"), rate(2000, 2, "hour")]],
        "_default_limits": [],
        "_key_func": get_remote_address,
        "_storage_uri": None,
    }
    return {"limiter": SimpleNamespace(**(has | more))}


def test_cors_keeps_all_of_its_options() -> None:
    options = {"allow_origins": ["https://a.example"], "max_age": 5}
    found = replacement(CORS, options, {})
    assert found is not None
    assert found.use == "components.middleware.cors.CORSMiddleware"
    assert found.kept == ("allow_origins", "max_age")
    assert found.differs


def test_limits_of_the_whole_application_by_address_are_kept() -> None:
    found = replacement(SLOWAPI, {}, limiter())
    assert found is not None
    assert found.use == "components.middleware.rate_limit.RateLimitMiddleware"
    assert found.options == {"limit": ["100/minute", "2000/2 hours"]}
    assert [str(rate) for rate in parse_rates(found.options["limit"])]


@pytest.mark.parametrize(
    "state",
    [
        {},
        limiter(_application_limits=[]),
        limiter(_default_limits=["of each route"]),
        limiter(_key_func=len),
        limiter(_storage_uri="redis://localhost"),
    ],
)
def test_other_limits_mean_more_and_stay(state: dict[str, Any]) -> None:
    assert replacement(SLOWAPI, {}, state) is None


def test_what_nobody_knows_stays() -> None:
    assert replacement("shop.layers.Layer", {}, {}) is None
