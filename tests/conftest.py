"""The option that rewrites golden files."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )
