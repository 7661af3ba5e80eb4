"""The option that rewrites golden files, how many processes test, and hypothesis without a clock."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: half of the time they wait for servers and other processes."""
    return 2 * (os.cpu_count() or 1)
