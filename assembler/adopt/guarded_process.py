"""A function and its argument → its result, from a fresh process in which others' code cannot do harm.

In: `module:function` of ours, an argument that JSON can write, an environment. Out: what the function
returned, and what the code that it ran did on the way: printed, started threads, asked for a network
that it did not get. Refuses, as a `ForeignCodeError` with the name and place of what did it, code that
raises, exits, hangs or ends its process; no traceback comes through.

In that process nothing but this machine is reached and no other process is started: an audit hook of
Python refuses both (PEP 578), which holds for all that goes through Python's own `socket`, `os` and
`subprocess`. A C library that opens its own connections is not seen.
"""

import importlib
import ipaddress
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType
from typing import Any, NoReturn

from assembler.diagnostics.errors import AssemblerError
from assembler.diagnostics.exceptions import failure_of, is_users, short_path
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import one_line

SECONDS = 60.0
_MORE_SECONDS = 15.0  # that the process has to start, and to say that time is up
_MOST_NOTES = 200
_LONGEST = 1000  # characters of what is told of foreign code
_NO_FILE = "/dev/null"
_PROCESSES = frozenset(
    {
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
        *("os.forkpty", "pty.spawn", "os.startfile"),
    }
)
_LOOKUPS = frozenset(["socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"])
_CONNECTIONS = frozenset(["socket.connect", "socket.sendto", "socket.sendmsg"])


class ForeignCodeError(AssemblerError):
    """Code of the application did not let itself be run; the message says what, and where."""


class NetworkRefusedError(ConnectionRefusedError):
    """What code sees that asks for a host elsewhere while it is recorded."""


class ProcessRefusedError(PermissionError):
    """What code sees that starts another process while it is recorded."""


class EndRefusedError(BaseException):
    """What code sees that ends its process without a word: `os._exit`, `os.abort`."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that foreign code did: what, with whom, and where it says so."""

    kind: str  # `network`, `process`, `print`, `thread`
    name: str
    file: str
    line: int

    def text(self) -> str:
        """Say it in one line."""
        return f"{_SAID[self.kind]} {self.name}".rstrip() + f" ({self.file}:{self.line})"


_SAID = {
    "network": "was refused a connection to",
    "process": "was refused another process:",
    "print": "prints to",
    "thread": "starts the thread",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the function returned, and what foreign code did meanwhile, each thing once."""

    value: Any
    notes: tuple[Observation, ...] = ()


@dataclass(frozen=True, slots=True)
class Guard:
    """What code in the process may do; `sees` holds what it did."""

    allow_network: bool = False
    allow_processes: bool = False
    sees: dict[Observation, None] = field(default_factory=dict)

    def note(self, kind: str, name: str) -> None:
        """Remember that the user's code does something, at the innermost line of its own."""
        file, line = place_of(sys._getframe(1))  # noqa: SLF001  # what `inspect` itself takes
        if len(self.sees) < _MOST_NOTES:
            told = name if kind == "print" else _told(name)  # there are many of those
            self.sees[Observation(kind, told, one_line(file), line)] = None


def run_guarded(
    function: str,
    argument: Any,
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    allow_network: bool = False,
    allow_processes: bool = False,
    seconds: float = SECONDS,
) -> Outcome:
    """Call `function`, a `module:name` of ours, with `argument` in a fresh guarded process.

    `folder` is where it runs, the current one unless given; `seconds` bounds all that it does.
    Raises `ForeignCodeError`.
    """
    request = {
        "function": function,
        "argument": argument,
        "allow_network": allow_network,
        "allow_processes": allow_processes,
        "seconds": seconds,
    }
    with TemporaryFile() as said, TemporaryFile() as asked:
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        status = _run(asked.fileno(), said.fileno(), environment, folder, seconds)
        said.seek(0)
        answer = said.read()
    if not answer:
        raise ForeignCodeError(f"{argument_name(argument)} {_end(status)}")
    secrets = Secrets()
    secrets.add_credentials(environment)  # which the code may have taken out of its own
    try:
        value, error, notes = _read_answer(answer, secrets)
    except (ValueError, TypeError, KeyError, RecursionError):
        message = f"{argument_name(argument)} meddles with the process that runs it: its answer cannot be read"
        raise ForeignCodeError(message) from None
    if error is not None:
        raise ForeignCodeError(error)
    return Outcome(value, notes)


def _read_answer(
    answer: bytes, secrets: Secrets
) -> tuple[Any, str | None, tuple[Observation, ...]]:
    told = json.loads(answer)
    value, error, notes = told["value"], told["error"], told["notes"]
    seen = (Observation(**{**note, "name": secrets.scrub(note["name"])}) for note in notes)
    return value, None if error is None else secrets.scrub(error), tuple(seen)


def argument_name(argument: Any) -> str:
    """Return what messages call an argument: the application that it names."""
    target = argument.get("target") if isinstance(argument, dict) else None
    return f"`{one_line(target)}`" if isinstance(target, str) else "the code"


def _run(
    asked: int, said: int, environment: Mapping[str, str], folder: Path | None, seconds: float
) -> int | None:
    """Run the process; return its status, None where it had to be killed."""
    # `-P`: our own imports never come from the folder that the application lies in.
    command = [sys.executable, "-P", "-B", "-c", _MAIN, str(said)]
    with subprocess.Popen(  # noqa: S603  # our own command
        command,
        stdin=asked,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(said,),
        env=dict(environment),
        cwd=folder,
    ) as process:
        try:
            return process.wait(seconds + _MORE_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()


_MAIN = "from assembler.adopt.guarded_process import main; main()"


def _end(status: int | None) -> str:
    if status is None:
        return "did not end, and was killed"
    if status < 0:
        with suppress(ValueError):
            return f"was ended by the signal {signal.Signals(-status).name}"
    return f"ended its process with status {status}"


# --- inside the process


def main() -> NoReturn:
    """Read the request, run it under guard, write the answer, and end whatever still runs."""
    said = int(sys.argv[1])
    request = json.loads(sys.stdin.buffer.read())
    sys.argv[1:] = []
    guard = Guard(request["allow_network"], request["allow_processes"])
    give = partial(_answer, said, guard)
    sys.stdin = open(_NO_FILE, encoding="utf-8")  # noqa: SIM115, PTH123  # as long as the process
    module, _, name = request["function"].partition(":")
    function: Callable[[Any, Guard], Any] = getattr(importlib.import_module(module), name)
    what = argument_name(request["argument"])
    with _end_in_time(what, request["seconds"], give), guarded(guard):
        value, error = None, None
        try:
            value = function(request["argument"], guard)
        except AssemblerError as fault:
            error = str(fault)
        except BaseException as fault:  # noqa: BLE001  # foreign code raises what it likes
            error = said_of(what, fault)
        give(value, error)


def _answer(said: int, guard: Guard, value: Any, error: str | None) -> NoReturn:
    notes = [{"kind": n.kind, "name": n.name, "file": n.file, "line": n.line} for n in guard.sees]
    text = json.dumps({"value": value, "error": error, "notes": notes})
    with open(said, "wb", closefd=False) as file:  # a descriptor
        file.write(text.encode())
    _exit(0)  # threads and exit handlers of foreign code are not waited for


_exit = os._exit


@contextmanager
def _end_in_time(what: str, seconds: float, give: Callable[[Any, str], NoReturn]) -> Iterator[None]:
    """Say where the code stands that does not come to an end, and end."""
    main_thread = threading.get_ident()

    def watch() -> None:
        if done.wait(seconds):
            return
        frame = sys._current_frames().get(main_thread)  # noqa: SLF001  # the one way to see another thread
        file, line = place_of(frame)
        give(None, f"{what} does not end within {seconds:g} s: it stands at {file}:{line}")

    done = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Refuse and note what foreign code may not do; for the life of the process."""
    sys.addaudithook(partial(_audit, guard))
    sys.stdout = _Told(guard, "standard output")
    sys.stderr = _Told(guard, "standard error")
    start = threading.Thread.start

    def start_noted(thread: threading.Thread) -> None:
        guard.note("thread", f"`{thread.name}`")
        start(thread)

    setattr(threading.Thread, "start", start_noted)  # noqa: B010  # a checker would ask for the same name of `self`
    for name in ("_exit", "abort"):
        setattr(os, name, partial(_refuse_end, f"os.{name}"))
    yield


def _refuse_end(name: str, *arguments: Any) -> NoReturn:
    raise EndRefusedError(f"{name}({', '.join(map(_shown, arguments))})")


def _audit(guard: Guard, event: str, arguments: tuple[Any, ...]) -> None:
    if event in _PROCESSES:
        if not guard.allow_processes:
            name = _command(arguments)
            guard.note("process", name)
            raise ProcessRefusedError(f"no other process is started while this runs: {name}")
    elif event in _CONNECTIONS or event in _LOOKUPS:
        host = _host(event, arguments)
        if host is not None and not guard.allow_network and not _is_near(host):
            guard.note("network", host)
            raise NetworkRefusedError(f"nothing but this machine is reached: {host}")


def _command(arguments: tuple[Any, ...]) -> str:
    named = next((each for each in arguments if isinstance(each, str | bytes) and each), "")
    text = os.fsdecode(named).split(" ")[0]
    return f"`{os.path.basename(text)}`" if text else "a copy of itself"  # noqa: PTH119  # a plain string


def _host(event: str, arguments: tuple[Any, ...]) -> str | None:
    """Return the host that is asked for; None for a socket of this machine alone."""
    address: Any = arguments[0] if event in _LOOKUPS else arguments[1]
    if event in _LOOKUPS:
        return None if address is None else _text(address)
    is_of_network = isinstance(address, tuple) and len(address) >= 2
    return _text(address[0]) if is_of_network else None


def _text(value: Any) -> str:
    return os.fsdecode(value) if isinstance(value, str | bytes) else str(value)


def _is_near(host: str) -> bool:
    if host in {"", "localhost", "localhost.localdomain", "ip6-localhost"}:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


class _Told:
    """A standard stream that drops what is written, and remembers who wrote."""

    encoding, errors, closed, name, mode = "utf-8", "backslashreplace", False, "", "w"

    def __init__(self, guard: Guard, what: str) -> None:
        self._guard = guard
        self._what = what
        self.buffer = self

    def write(self, text: Any) -> int:
        """Drop it."""
        if text.strip():
            self._guard.note("print", self._what)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Drop them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Do nothing."""

    def isatty(self) -> bool:
        """Tell that nobody reads."""
        return False

    def writable(self) -> bool:
        """Tell that one may write."""
        return True

    def readable(self) -> bool:
        """Tell that one may not read."""
        return False

    def fileno(self) -> int:
        """Return the descriptor of the stream, which leads nowhere."""
        return 1 if self._what == "standard output" else 2

    def reconfigure(self, **options: Any) -> None:
        """Do nothing."""


# --- places, and what is told of failures


def place_of(frame: FrameType | None) -> tuple[str, int]:
    """Return the innermost line of the user's own code at or above a frame, or the outermost one."""
    found, last = frame, ("an unknown place", 0)
    while found is not None:
        file = found.f_code.co_filename
        if is_users(file):
            return short_path(file), found.f_lineno
        if not file.startswith("<"):
            last = short_path(file), found.f_lineno
        found = found.f_back
    return last


def place_of_error(error: BaseException) -> str:
    """Return ` (file:line)` of the user's own line that raised, or nothing."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f" ({short_path(error.filename)}:{error.lineno})"
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_users(file):
            found = f" ({short_path(file)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return found


def said_of(what: str, error: BaseException) -> str:
    """Say in one line what became of foreign code: it exits, lacks a variable, raises."""
    return _told(_said(what, error))


def _said(what: str, error: BaseException) -> str:
    place = place_of_error(error)
    if isinstance(error, SystemExit):
        return f"{what} exits: `sys.exit({_shown(error.code)})`{place}"
    if isinstance(error, EndRefusedError):
        return f"{what} ends its process: `{error}`{place}"
    lacking = _lacking(error)
    if lacking:
        plural = "s" if len(lacking) > 1 else ""
        names = ", ".join(f"`{name}`" for name in lacking)
        them = "them" if plural else "it"
        return f"{what} needs the variable{plural} {names}{place}: set {them}, or name a file that does by `--env-file`"
    if isinstance(error, NetworkRefusedError | ProcessRefusedError):
        return f"{what} cannot be read{place}: {error}"
    return f"{what} failed{place}: {_without_values(error)}"


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # a foreign `__repr__` may raise anything
        return f"an object of `{type(value).__name__}`"


def _told(text: str) -> str:
    """Make one line of bounded length of foreign text, without the environment's credentials."""
    secrets = Secrets()
    secrets.add_credentials(os.environ)
    line = one_line(secrets.scrub(text))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _lacking(error: BaseException) -> list[str]:
    """Return the variables that are not set, where that is what an exception says."""
    if isinstance(error, KeyError) and error.args and _is_from_environment(error):
        return [str(error.args[0])]
    from pydantic import ValidationError  # noqa: PLC0415  # it is loaded where one was raised
    from pydantic_settings import BaseSettings  # noqa: PLC0415  # as above

    if not isinstance(error, ValidationError):
        return []
    kinds = [kind for kind in _all_subclasses(BaseSettings) if kind.__name__ == error.title]
    faults = error.errors(include_url=False, include_input=False)
    names = [str(fault["loc"][0]) for fault in faults if fault["type"] == "missing"]
    if not kinds or not names:
        return []
    prefix = str(kinds[-1].model_config.get("env_prefix") or "")
    fields = kinds[-1].model_fields
    return [f"{prefix}{name}".upper() if name in fields else name for name in names]


def _is_from_environment(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "os"


def _all_subclasses(kind: Any) -> Iterator[Any]:
    for each in kind.__subclasses__():
        yield each
        yield from _all_subclasses(each)


def _without_values(error: BaseException) -> str:
    """Name an exception; pydantic's text shows the input, which may be a secret."""
    from pydantic import ValidationError  # noqa: PLC0415  # as above

    if not isinstance(error, ValidationError):
        return failure_of(error)
    faults = error.errors(include_url=False, include_input=False)
    told = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return f"{error.title}: {told}"
