"""A site that is played: pages, robots.txt and faults, and what was asked of it when."""

import time
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

ROW = "<tr><td>{city}<td>house<td>sale<td>2026-06<td>INR<td>{price}"


def page(*cities: str, price: float = 100, follow: str = "") -> Response:
    """A page with one figure for each city, and a link to the next one."""
    rows = "".join(ROW.format(city=city, price=price) for city in cities)
    head = "<tr><th>city<th>kind<th>purpose<th>month<th>currency<th>price_per_m2"
    link = f'<a rel="next" href="{follow}">on</a>' if follow else ""
    return Response(f"<table>{head}{rows}</table>{link}", media_type="text/html")


@dataclass
class Site:
    """Answers by path; what has none is a 404."""

    pages: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = request.url.path
        self.asked.append((path, time.monotonic(), dict(request.headers)))
        answer = self.pages.get(path, Response(status_code=404))
        if callable(answer) and not isinstance(answer, Response):
            answer = answer(request)
            if not isinstance(answer, Response):
                answer = await answer
        await answer(scope, receive, send)

    @property
    def paths(self) -> list[str]:
        """What was asked for, in its order."""
        return [path for path, _, _ in self.asked]
