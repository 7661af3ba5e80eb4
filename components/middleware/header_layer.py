"""What looks at a request and edits the headers of its answer, run together with its neighbours.

In: layers whose whole work is a `begin` before the application and an edit of the response's start.
Out: an ASGI application. Layers that stand directly inside each other, or with only a wrapper between
that says `is_transparent`, form a chain which the outermost runs: one coroutine, one `send`, one dict
of the request's headers and one copy of the answer's, in place of one for each (of six, that takes 7 µs
of 17). Anything else between two layers ends the chain, so what it does to an answer happens in its
place. Each layer works alone too: a chain of one.

What the rules of a chain add to an answer that has none of the headers they look at is always the
same, so it is kept, by the rules and the status.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NoReturn

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.header_text import ordinary_names

Fields = list[tuple[bytes, bytes]]
_KEPT = 1024


class Rule:
    """An edit of headers that depends on nothing but them and the status: one object, many requests."""

    __slots__ = ()

    starts = frozenset({"http.response.start"})
    """The types of the messages it edits."""

    def edit(self, fields: Fields, status: int) -> Fields:
        """The headers, edited: the same list or another."""
        raise NotImplementedError


Step = tuple[Rule, tuple[bytes, bytes] | None, Callable[[], object] | None]
"""A rule, a field of this one answer to add behind it, and what to call when the request is over."""


class HeaderLayer:
    """The base of such a layer, which calls `_join` at the end of its constructor."""

    app: ASGIApp
    on_websockets = False
    """Whether it has something to do with websockets; HTTP requests it sees all."""

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step | ASGIApp | None:
        """What to do about this request: a step, nothing, or to go on with another application.

        That one takes the place of this layer and of all inside it.

        Args:
            scope: the request's, which may be changed only by a layer that goes on elsewhere.
            headers: the request's; of several with one name the last.
        """
        raise NotImplementedError

    def _join(self, *, touches: Iterable[bytes], adds: Iterable[bytes] = ()) -> None:
        """Form a chain with what stands inside.

        Args:
            touches: names of the headers that its rules look at or add.
            adds: names of the fields that its steps add.
        """
        inner = self.app.app if getattr(self.app, "is_transparent", False) else self.app  # type: ignore[attr-defined]  # a transparent wrapper has it
        self._touches, self._adds = frozenset(touches), frozenset(adds)
        self._chain: tuple[HeaderLayer, ...] = (self,)
        self._inside = self.app
        # The fields of steps come last, unseen by any rule: a layer that looks at them stands apart.
        if isinstance(inner, HeaderLayer) and self._touches.isdisjoint(inner._adds):
            self._chain += inner._chain
            self._inside = inner._inside
            self._touches |= inner._touches
            self._adds |= inner._adds
        self._others = ordinary_names(self._touches)
        self._begins = [layer.begin for layer in self._chain]
        self._websocket_begins = [layer.begin for layer in self._chain if layer.on_websockets]
        self._kept: dict[tuple[Any, ...], Fields] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begins = self._begins
        elif scope["type"] == "websocket":
            begins = self._websocket_begins
        else:
            await self._inside(scope, receive, send)
            return
        headers = dict(scope["headers"])
        app = self._inside
        rules: list[Rule] = []
        values: Fields = []
        ends = None

        def send_edited(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                fields = list(message.get("headers", ()))
                status = message["status"]
                if dict(fields).keys() <= self._others:
                    key = (status, *rules)
                    fields += self._kept.get(key) or self._keep(key)
                else:
                    fields = _edited(rules, fields, status)
                # A copy: an application may send the same message with every response.
                message = {**message, "headers": fields + values}
            return send(message)

        try:
            for begin in begins:
                step = begin(scope, headers)
                if step is None:
                    continue
                if type(step) is not tuple:
                    app = step
                    break
                rule, value, end = step
                rules.append(rule)
                if value is not None:
                    values.append(value)
                if end is not None:
                    ends = [*(ends or ()), end]
            await app(scope, receive, send_edited if rules else send)
        finally:
            if ends is not None:
                for end in reversed(ends):
                    end()
