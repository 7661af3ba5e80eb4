"""An exception of someone else's code → one line of text, and the author's own line.

In: any exception. Out: what it says, and the innermost frame that lies neither in Python, nor in an
installed package, nor here.
"""

import functools
import linecache
import os
import sysconfig
import traceback

_INSTALLED = frozenset({"site-packages", "dist-packages"})


def failure_of(error: BaseException) -> str:
    """Name an exception in one line: its type, and its text where it has one."""
    # A metaclass may answer `__name__` itself, and raise.
    name: str = vars(type)["__name__"].__get__(type(error))
    try:
        text = " ".join(str(error).replace(os.getcwd() + os.sep, "").split())  # noqa: PTH109  # a string
    except Exception:  # noqa: BLE001  # a `__str__` may raise anything
        return name
    return f"{name}: {text}" if text else name


def frame_of(error: BaseException) -> tuple[str, ...]:
    """Return `file:line: source` of the innermost frame that is the user's own, if any."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return (_frame_text(error.filename, error.lineno),)
    frames = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [(file, line) for file, line in frames if is_users(file)]
    return (_frame_text(*own[-1]),) if own else ()


def short_path(file: str) -> str:
    """Return `file` relative to the current folder where it lies below it."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative


def is_users(file: str) -> bool:
    """Tell whether a file of code lies neither in Python, nor in an installed package, nor here.

    Packages stand in other folders than this interpreter's own too: a user's (`pip install --user`), the
    system's below a virtual environment, Debian's `dist-packages`.
    """
    if file.startswith("<") or not _INSTALLED.isdisjoint(file.split(os.sep)):  # noqa: PTH206  # a string
        return False
    return not file.startswith(_foreign_folders())


@functools.cache
def _foreign_folders() -> tuple[str, ...]:
    libraries = [
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    here = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120  # a string
    return tuple(dict.fromkeys(name + os.sep for name in (here, *libraries) if name))


def _frame_text(file: str, line: int) -> str:
    place, source = f"{short_path(file)}:{line}", linecache.getline(file, line).strip()
    return f"{place}: {source}" if source else place
