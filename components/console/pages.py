"""Data → HTML, server-rendered: every page works without scripts; one small script keeps it fresh.

In: the templates and files beside this module, the data of `components.console.views`. Out: whole
pages, and the part of each that changes, for the event stream. Every text is escaped; no page has a
style or a script of its own in it, so that the policy can forbid both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse, Response

from components.console.access import digest_of

_FOLDER = Path(__file__).parent
_NOTHING = "\N{EN DASH}"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # under `no-referrer` a browser sends `Origin: null` with a form
    "referrer-policy": "same-origin",
}


_KINDS = {
    **dict.fromkeys(("ok", "open", "started", "ready", "given"), "good"),
    **dict.fromkeys(("running", "queued", "starting", "draining", "building"), "busy"),
    **dict.fromkeys(("failed", "timeout", "lost", "missed", "away", "crashed"), "bad"),
    **dict.fromkeys(("degraded", "cancelled", "replaced", "skipped", "waiting", "paused"), "warn"),
}


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """A page of the console: its name in the path, its title, whether it changes by itself."""

    name: str
    path: str
    title: str
    is_live: bool = False


PAGES = {
    page.name: page
    for page in (
        ConsolePage("overview", "", "Overview", is_live=True),
        ConsolePage("explain", "/explain", "Requests", is_live=True),
        ConsolePage("runs", "/runs", "Runs", is_live=True),
        ConsolePage("limits", "/limits", "Limits", is_live=True),
        ConsolePage("start", "/start", "Start"),
        ConsolePage("options", "/options", "Options"),
        ConsolePage("loggers", "/loggers", "Loggers"),
        ConsolePage("orders", "/orders", "Orders", is_live=True),
    )
}


class Templates:
    """The templates and files; jinja2 is imported by the first page."""

    @cached_property
    def files(self) -> dict[str, tuple[bytes, str]]:
        """The style and the script, each with its media type."""
        return {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in sorted((_FOLDER / "static").iterdir())
            if path.suffix in _TYPES
        }

    @cached_property
    def versions(self) -> dict[str, str]:
        """A name for what each file holds."""
        return {name: digest_of(data) for name, (data, _) in self.files.items()}

    @cached_property
    def _environment(self) -> Any:
        import jinja2  # noqa: PLC0415  # only where a page is shown

        loader = jinja2.FileSystemLoader(_FOLDER / "templates")
        made = jinja2.Environment(
            loader=loader,
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        made.filters |= {
            "ago": ago,
            "when": when,
            "clock": clock,
            "kind": kind,
            "took": took,
            "many": many,
            "rate": rate,
            "short": short,
        }
        return made

    def render(self, name: str, said: Mapping[str, Any]) -> str:
        """Render a template with what it is to say."""
        text: str = self._environment.get_template(name).render(said)
        return text

    def page(self, name: str, said: Mapping[str, Any], status: int = 200) -> Response:
        """Return a whole page."""
        return HTMLResponse(self.render(name, said), status, dict(HEADERS))

    def file(self, name: str) -> Response | None:
        """Return the style or the script."""
        found = self.files.get(name)
        return None if found is None else Response(found[0], headers=HEADERS, media_type=found[1])


def ago(milliseconds: float | None, now_ms: float) -> str:
    """Say how long ago a moment was; of one to come, in how long it is."""
    if milliseconds is None:
        return "never"
    seconds = (now_ms - milliseconds) / 1000
    word = _span(abs(seconds))
    return f"{word} ago" if seconds >= 0 else f"in {word}"


def kind(state: str) -> str:
    """Return how a state is marked: `good`, `busy`, `warn`, `bad`, or `calm`."""
    return _KINDS.get(state, "calm")


def clock(moment: str | float | None) -> str:
    """Write a moment as a person reads it, in UTC unless it says its own offset."""
    if moment is None:
        return _NOTHING
    if isinstance(moment, str):
        read = datetime.fromisoformat(moment)
    else:
        read = datetime.fromtimestamp(moment / 1000, UTC)
    offset = "UTC" if not read.utcoffset() else read.strftime("%z")
    return f"{read:%Y-%m-%d %H:%M:%S} {offset}"


def when(moment: str, now_ms: float) -> str:
    """Say how long ago a moment was that is written in ISO 8601."""
    return ago(datetime.fromisoformat(moment).timestamp() * 1000, now_ms)


def took(milliseconds: float | None) -> str:
    """Write a duration."""
    if milliseconds is None:
        return _NOTHING
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.1f} s"


def many(number: float | None) -> str:
    """Write a count, in groups of three digits."""
    return _NOTHING if number is None else f"{number:,.0f}".replace(",", "\u202f")


def rate(quota: int, seconds: int) -> str:
    """Write a rate as a manifest does."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"{quota}/{word}" if count == 1 else f"{quota}/{count} {word}s"
    return f"{quota}/{seconds} seconds"


def short(digest: str | None) -> str:
    """Write the beginning of a digest."""
    return _NOTHING if not digest else digest[:12]


def _span(seconds: float) -> str:
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word}"
    return f"{int(seconds)} s"
