"""The option that rewrites golden files, how many processes test, hypothesis without a clock, a
browser, and signals as a process has them that nobody put into the background.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A browser that asks nothing of its maker; without one its tests are skipped, but not in CI.

    It is a module's own: as long as it is there, the thread has a loop, and takes no other one.
    """
    chromium = shutil.which("chromium")
    if chromium is None and os.environ.get("CI") != "true":
        pytest.skip("no chromium is installed")
    assert chromium is not None, "no chromium is installed, and CI needs one"
    from playwright.sync_api import expect, sync_playwright  # noqa: PLC0415  # only for these tests

    expect.set_options(timeout=30_000)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield launched
        launched.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two processes for each core: half of the time they wait for servers and other processes."""
    return 2 * (os.cpu_count() or 1)
