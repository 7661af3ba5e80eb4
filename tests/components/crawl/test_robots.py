"""What a site lets a crawler fetch."""

from datetime import UTC, datetime, timedelta

import pytest

from components.crawl.robots import Robots

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FORBIDDING = "User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize(
    ("status", "text", "allowed"),
    [
        (200, "", True),
        (200, FORBIDDING, False),
        (200, "User-agent: other\nDisallow: /\n", True),
        (200, "User-agent: bot\nAllow: /page\nDisallow: /\n", True),
        (200, "User-agent: Bot/1.0 (of ours)\nDisallow: /\n\nUser-agent: *\nAllow: /\n", False),
        (200, "user-agent:bot*\rDisallow: /\r", False),
        (200, "User-agent: robot/1.0\nDisallow: /\n", True),
        (200, "<html>no robots here</html>", True),
        (404, FORBIDDING, True),
        (401, FORBIDDING, True),
        (403, FORBIDDING, True),
        (410, "", True),
        (429, "", False),
        (500, "", False),
        (503, "", False),
        (None, "", True),
    ],
)
def test_the_status_and_the_rules_decide(status: int | None, text: str, allowed: bool) -> None:
    robots = Robots(status, text, NOW)
    assert robots.allows("https://a.example/page", "bot") is allowed
    assert robots.decision
    assert robots.is_kept is (status not in {429, 500, 503})


def test_it_holds_for_a_day_and_not_longer() -> None:
    robots = Robots(200, "", NOW)
    assert robots.holds(NOW + timedelta(hours=23, minutes=59))
    assert not robots.holds(NOW + timedelta(hours=24))
    assert not robots.holds(NOW - timedelta(seconds=1))  # a clock that was set back


def test_its_pause_between_requests_is_told() -> None:
    assert Robots(200, "User-agent: *\nCrawl-delay: 7\n", NOW).delay_seconds("bot") == 7
    assert Robots(404, "", NOW).delay_seconds("bot") == 0
