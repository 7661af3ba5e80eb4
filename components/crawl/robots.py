"""What a site lets a crawler fetch, by RFC 9309.

In: the answer to `/robots.txt`. Out: `Robots`, which says of a URL whether it may be fetched, and by what.
Read are the first 500 KiB. 4xx allows everything, but for 429; so does a file that is not reached within
five redirects. 429, 5xx and no answer forbid everything, and are not remembered. An answer holds for 24
hours at most. https://www.rfc-editor.org/rfc/rfc9309
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from protego import Protego

MOST_BYTES = 500 * 1024
MOST_REDIRECTS = 5
LONGEST = timedelta(hours=24)

_NAME = re.compile(
    r"^([ \t]*user-agent[ \t]*:[ \t]*[a-z_-]+)[^\r\n]*", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True)
class Robots:
    """The rules of one origin; `status` is None where no answer came within five redirects."""

    status: int | None
    text: str = field(repr=False)
    fetched_at: datetime

    @property
    def is_kept(self) -> bool:
        """Whether it may be remembered."""
        return not self._forbids_all

    def holds(self, now: datetime) -> bool:
        """Whether it is young enough."""
        return timedelta(0) <= now - self.fetched_at < LONGEST

    def allows(self, url: str, agent: str) -> bool:
        """Whether a URL may be fetched."""
        if self._forbids_all:
            return False
        return self._rules is None or self._rules.can_fetch(url, agent)

    def delay_seconds(self, agent: str) -> float:
        """The pause between requests that the site asks for; 0 where it says nothing."""
        told = None if self._rules is None else self._rules.crawl_delay(agent)
        return max(0.0, float(told or 0))

    @property
    def decision(self) -> str:
        """By what it decides, in a few words."""
        if self.status is None:
            return "robots.txt is not there: too many redirects"
        if self._forbids_all:
            return f"robots.txt cannot be read: {self.status}"
        return "robots.txt" if self._is_file else f"no robots.txt: {self.status}"

    @property
    def _is_file(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def _forbids_all(self) -> bool:
        if self.status is None or self._is_file:
            return False
        return self.status == 429 or not 400 <= self.status < 500

    @cached_property
    def _rules(self) -> "Protego | None":
        from protego import Protego  # noqa: PLC0415  # a service that starts reads no robots.txt

        # of `Name/1.0` the name counts: it has letters, `_` and `-` alone (2.2.1)
        return Protego.parse(_NAME.sub(r"\1", self.text)) if self._is_file else None
