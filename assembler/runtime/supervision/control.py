"""A supervisor ↔ who asks it, over a Unix socket of its own user.

In: a request of one line of JSON each: `status`, `snapshot`, `environment`, `reload`. Out: one line
of JSON each. The socket lies in the runtime folder of the manifest or of the user, under a name that
says which manifest is served and is new for each server: a process number would name nothing, as
containers repeat it. Refuses other users, root aside. Values of the environment never leave: they
are compared by a hash that is keyed for one question.
"""

import asyncio
import base64
import hashlib
import json
import logging
import os
import secrets
import socket
import stat
import struct
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler.diagnostics.errors import UsageError
from assembler.plan.allow_list import ImportList
from assembler.plan.fingerprint import hashes
from assembler.plan.snapshot import Snapshot
from assembler.runtime.supervision.supervisor import Supervisor

logger = logging.getLogger("uvicorn.error")

_LIMIT = 256 * 1024 * 1024  # bytes of one line
_ANSWER_SECONDS = 10.0  # for all but a reload
_SUFFIX = ".sock"
_PEER = struct.Struct("3i")  # pid, uid, gid: `struct ucred` of Linux


# --- where it lies


def runtime_folders(written: str | None, environment: Mapping[str, str]) -> list[Path]:
    """Return where the socket may lie: the manifest's folder, or else the user's."""
    if written:
        return [Path(written)]
    user = environment.get("XDG_RUNTIME_DIR")
    if user:
        return [Path(user) / "assembler"]
    return [Path(tempfile.gettempdir()) / f"assembler-{os.getuid()}"]


def _key(manifest: Path) -> str:
    # links are not followed: a deployment that moves one goes on to be the same service
    path = os.path.abspath(manifest)  # noqa: PTH100  # as above
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Return how a socket is named to the system, which takes no more than some 100 characters."""
    if len(os.fsencode(path)) < 100 or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _own_folder(folder: Path) -> None:
    """Make the folder, or refuse one that another user could have made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid not in {os.getuid(), 0} or (
        stat.S_IMODE(found.st_mode) & 0o022 and not found.st_mode & stat.S_ISVTX
    ):
        raise PermissionError(13, "it is writable by others", str(folder))


# --- the server's side


@asynccontextmanager
async def listening(manifest: Path, supervisor: Supervisor) -> AsyncIterator[Path | None]:
    """Answer while the block runs; a socket that cannot be made is logged, and nothing worse."""
    planned = supervisor.planned
    written = None if planned is None else planned.runtime_dir
    folder = runtime_folders(written, supervisor.snapshot.environment)[0]
    path = folder / f"{_key(manifest)}-{secrets.token_hex(4)}{_SUFFIX}"
    talk = _Talk(manifest, supervisor)
    server = None
    try:
        _own_folder(folder)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            with _address(path) as address:
                bound.bind(address)
        finally:
            os.umask(mask)
        server = await asyncio.start_unix_server(talk.serve, sock=bound, limit=_LIMIT)
    except OSError as error:
        reason = error.strerror or str(error)
        logger.warning("`assembler reload` cannot reach this server by `%s`: %s", folder, reason)
    try:
        yield None if server is None else path
    finally:
        if server is not None:
            server.close()
        path.unlink(missing_ok=True)


class _Talk:
    """The conversations of one server."""

    def __init__(self, manifest: Path, supervisor: Supervisor) -> None:
        self._path = os.path.abspath(manifest)  # noqa: PTH100  # links stay
        self._supervisor = supervisor

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = _peer(writer.get_extra_info("socket"))
            if peer is not None and peer not in {os.getuid(), 0}:
                return
            while line := await reader.readline():
                answer = await self._answered(_said(line))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):
            pass  # it has gone, or says more than a line may have
        finally:
            writer.close()

    async def _answered(self, said: Mapping[str, Any]) -> dict[str, Any]:
        supervisor = self._supervisor
        match said.get("op"):
            case "status":
                return {
                    "pid": os.getpid(),
                    "path": self._path,
                    "digest": supervisor.snapshot.digest,
                    "snapshots": list(supervisor.history),
                    "workers": [worker.pid for worker in supervisor.workers],
                    "reloads": supervisor.reloads,
                }
            case "snapshot":
                found = supervisor.history.get(said.get("digest") or supervisor.snapshot.digest)
                return {"error": "it is not kept"} if found is None else _as_json(found)
            case "environment":
                environment = supervisor.snapshot.environment
                return {"values": hashes(said["names"], environment, said["key"])}
            case "reload":
                request = supervisor.request(said.get("to"), said.get("expected"))
                reloaded = await supervisor.reload(request)
                return {
                    "status": reloaded.status,
                    "text": reloaded.text,
                    "digest": reloaded.digest,
                }
            case _:
                return {"error": "that is not understood"}


def _said(line: bytes) -> dict[str, Any]:
    """Read a request; what is none has no `op`."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    names = said.get("names", [])
    fits = isinstance(names, list) and all(isinstance(name, str) for name in names)
    texts = (said.get(key) for key in ("digest", "to", "expected", "key"))
    fits = fits and all(text is None or isinstance(text, str) for text in texts)
    if said.get("op") == "environment":
        fits = fits and "names" in said and bool(said.get("key"))
    return said if fits else {}


def _peer(connection: Any) -> int | None:
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None  # the permissions of the socket are what keeps others away
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _PEER.size))
    return int(user)


def _as_json(snapshot: Snapshot) -> dict[str, Any]:
    files = {
        path: base64.b64encode(text).decode() if isinstance(text, bytes) else [text]
        for path, text in snapshot.files.items()
    }
    imports = snapshot.imports
    return {
        "path": os.path.abspath(snapshot.path),  # noqa: PTH100  # links stay
        "files": files,
        "imports": [None if imports.packages is None else list(imports.packages), imports.file],
    }


# --- the client's side


@dataclass(frozen=True, slots=True)
class Client:
    """A server that runs, and what it said of itself."""

    address: Path
    status: dict[str, Any]

    @property
    def path(self) -> Path:
        """The manifest that it serves."""
        return Path(self.status["path"])

    def snapshot(self, digest: str | None = None) -> Snapshot:
        """Return a snapshot that it keeps, without its environment. Raises `UsageError`."""
        said = self._asked({"op": "snapshot", "digest": digest})
        packages, file = said["imports"]
        files = {
            path: base64.b64decode(text) if isinstance(text, str) else str(text[0])
            for path, text in said["files"].items()
        }
        imports = ImportList(None if packages is None else tuple(packages), file)
        return Snapshot(Path(said["path"]), files, imports, {})

    def differing(self, names: Iterable[str], environment: Mapping[str, str]) -> list[str]:
        """Return the variables that are set here, and are not the same there."""
        here = [name for name in names if name in environment]
        key = secrets.token_hex(16)
        theirs = self._asked({"op": "environment", "names": here, "key": key})["values"]
        own = hashes(here, environment, key)
        return [name for name in here if theirs[name] != own[name]]

    def reload(self, *, to: str | None = None, expected: str | None = None) -> dict[str, Any]:
        """Reload, and wait for what becomes of it. Raises `UsageError`."""
        return self._asked({"op": "reload", "to": to, "expected": expected}, seconds=None)

    def _asked(
        self, said: Mapping[str, Any], seconds: float | None = _ANSWER_SECONDS
    ) -> dict[str, Any]:
        answer = _ask(self.address, said, seconds)
        if answer is None:
            raise UsageError("the server has gone")
        if "error" in answer:
            raise UsageError(f"the server refuses: {answer['error']}")
        return answer


def find(
    folders: Iterable[Path], *, manifest: Path | None = None, pid: int | None = None
) -> list[Client]:
    """Return the servers of a manifest, or the one with a process number; dead sockets are skipped."""
    prefix = "" if manifest is None else f"{_key(manifest)}-"
    found = []
    for folder in folders:
        for path in sorted(folder.glob(f"{prefix}*{_SUFFIX}")):
            client = connect(path)
            if client is not None and pid in {None, client.status["pid"]}:
                found.append(client)
    return found


def connect(address: Path) -> Client | None:
    """Return the server behind a socket, None where nobody answers."""
    status = _ask(address, {"op": "status"}, _ANSWER_SECONDS)
    return None if status is None else Client(address, status)


def _ask(address: Path, said: Mapping[str, Any], seconds: float | None) -> dict[str, Any] | None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_ANSWER_SECONDS)
            with _address(address) as name:
                asking.connect(name)
            asking.settimeout(seconds)
            asking.sendall(json.dumps(said).encode() + b"\n")
            with asking.makefile("rb") as answers:
                line = answers.readline()
            answer: dict[str, Any] | None = json.loads(line) if line else None
            return answer
    except (OSError, ValueError):
        return None
