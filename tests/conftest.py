"""The option that rewrites golden files, and how hypothesis runs: without a clock."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )
