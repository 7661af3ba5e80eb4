"""The option that rewrites golden files, how many processes test, hypothesis without a clock, and
signals as a process has them that nobody put into the background.
"""

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# What a shell's background job or a runner of CI ignores, its children would ignore as well.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache_folder() -> Iterator[None]:
    """Keep what commands read of sources out of the user's own cache folder."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: half of the time they wait for servers and other processes."""
    return 2 * (os.cpu_count() or 1)
