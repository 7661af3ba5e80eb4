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
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.header_text import ordinary_names

Fields = list[tuple[bytes, bytes]]
_KEPT = 1024
_WEBSOCKET_STARTS = frozenset({"websocket.accept", "websocket.http.response.start"})


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

_Begin = tuple[Callable[[Scope, dict[bytes, bytes]], Step | ASGIApp | None], ASGIApp | None]


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
        inner, wrapper = self.app, None
        if getattr(inner, "is_transparent", False):
            inner, wrapper = inner.app, inner  # type: ignore[attr-defined]  # such a wrapper has it
        self._touches, self._adds = frozenset(touches), frozenset(adds)
        self._inside = self.app
        self._begins: list[_Begin] = [(self.begin, None)]
        self._websocket_begins = self._begins[:] if self.on_websockets else []
        # Fields of steps come last, unseen by any rule: a layer that looks at them stands apart.
        if isinstance(inner, HeaderLayer) and self._touches.isdisjoint(inner._adds):
            self._touches |= inner._touches
            self._adds |= inner._adds
            self._inside = inner._inside
            (first, _), *others = inner._begins
            self._begins += [(first, wrapper), *others]
            for begin, outside in inner._websocket_begins:
                self._websocket_begins.append((begin, wrapper if begin == first else outside))
        self._others = ordinary_names(self._touches)
        self._kept: dict[tuple[Any, ...], Fields] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begins = self._begins
        elif scope["type"] == "websocket":
            begins = self._websocket_begins
        else:
            await self.app(scope, receive, send)
            return
        rules: list[Rule] = []
        values: Fields = []
        ends: list[Callable[[], object]] = []

        def send_edited(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind == "http.response.start":
                fields = list(message.get("headers", ()))
                if dict(fields).keys() <= self._others:
                    key = (message["status"], *rules)
                    try:
                        fields += self._kept[key]
                    except KeyError:
                        fields += self._keep(key)
                else:
                    fields = _edited(fields, message["status"], rules)
                # A copy: an application may send the same message with every response.
                message = {**message, "headers": fields + values}
            elif kind in _WEBSOCKET_STARTS:
                edits = [rule for rule in rules if kind in rule.starts]
                fields = _edited(list(message.get("headers", ())), 0, edits)
                message = {**message, "headers": fields + values}
            return send(message)

        try:
            app = self._begin_all(begins, scope, rules, values, ends)
            await app(scope, receive, send_edited if rules else send)
        finally:
            for end in reversed(ends):
                end()

    def _begin_all(
        self,
        begins: "list[_Begin]",
        scope: Scope,
        rules: list[Rule],
        values: Fields,
        ends: list[Callable[[], object]],
    ) -> ASGIApp:
        headers = dict(scope["headers"])
        for begin, wrapper in begins:
            try:
                step = begin(scope, headers)
            except Exception:
                if wrapper is None:
                    raise
                return wrapper  # whose work exceptions are: it runs the layer again, alone
            if step is None:
                continue
            if type(step) is not tuple:
                return step
            rule, value, end = step
            rules.append(rule)
            if value is not None:
                values.append(value)
            if end is not None:
                ends.append(end)
        return self._inside

    def _keep(self, key: tuple[Any, ...]) -> Fields:
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        status, *rules = key
        fields = self._kept[key] = _edited([], status, rules)
        return fields


def _edited(fields: Fields, status: int, rules: list[Rule]) -> Fields:
    for rule in reversed(rules):  # the innermost first
        fields = rule.edit(fields, status)
    return fields
