"""What looks at a request and edits the headers of its answer, run together with its neighbours.

In: layers whose whole work is a `begin` before the application and an edit of the response's start.
Out: an ASGI application. Layers that stand directly inside each other, or with one wrapper between
that says `is_transparent`, form a chain which the outermost runs: one coroutine, one `send`, one copy
of the answer's headers, in place of one for each (six layers add 13 µs so, and 19 one by one). Anything
else between two layers ends the chain, so what it does to an answer is done in its place. A layer that
must do more for a request (wait, refuse, ask twice) goes on by itself, with a new chain inside it.

What the rules of a chain add to an answer that has none of the headers they look at is always the
same, so it is kept, by the status and the rules.

A layer of anybody joins in, at the same speed, by keeping to this:

    class PoweredBy(HeaderLayer):
        reads_headers = False  # `begin` may get no headers

        def __init__(self, app: ASGIApp, *, text: str = "coffee") -> None:
            self.app = app
            self._step = Step(Added([(b"x-powered-by", text.encode("latin-1"))]))
            self._join(touches=[b"x-powered-by"])

        def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
            return self._step

    class Added(Rule):
        def __init__(self, fields: Fields) -> None:
            self._fields = fields

        def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
            return [*fields, *self._fields]

`begin` is called once a request, waits for nothing and leaves the scope's path and headers alone. A
rule is one object for many requests: where it depends on the request, keep one for each case. What
differs from request to request (an ID, a number) is the step's `field`, which no rule sees.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextvars import Token
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.headers import ordinary_names

Fields = list[tuple[bytes, bytes]]
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
_KEPT = 1024
_UNREAD: dict[bytes, bytes] = {}


class Rule:
    """An edit of headers: one object for many requests.

    What it adds to an answer that has none of the headers it looks at depends on the status alone.
    """

    __slots__ = ()

    starts = frozenset({"http.response.start"})
    """The types of the messages it edits."""

    at: Callable[[Scope], "Rule"] | None = None
    """Gives the rule that holds when the answer begins; only rules of a layer that `decides_late` have it."""

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        """The headers, edited; the given list stays as it is. The scope may have been moved on."""
        raise NotImplementedError


class Step:
    """What a layer does about one request; one object for all requests that get the same.

    Args:
        rule: edits the answer's start.
        field: goes onto this one answer, after all that rules have added.
        token: of a context variable that was set for the request, reset at its end.
        app: what to go on with in place of this layer and of all inside it; nothing else counts then.
    """

    __slots__ = ("app", "field", "rule", "token")

    def __init__(
        self,
        rule: Rule | None = None,
        field: tuple[bytes, bytes] | None = None,
        token: "Token[Any] | None" = None,
        *,
        app: ASGIApp | None = None,
    ) -> None:
        self.rule = rule
        self.field = field
        self.token = token
        self.app = app


NOTHING = Step()
"""Lets the request and its answer be."""

_Begin = tuple[Callable[[Scope, dict[bytes, bytes]], Step], ASGIApp | None]


class HeaderLayer:
    """The base of such layers; each calls `_join` at the end of its constructor."""

    send_outlives_call = True

    app: ASGIApp
    chain: "_Chain"

    reads_headers = True
    """Whether it wants the request's headers; else it may get none."""

    on_websockets = False
    """Whether it sees websockets; HTTP requests it sees all."""

    decides_late = False
    """Whether its rules are asked again, by `Rule.at`, when the answer begins."""

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        """What to do about this request.

        Args:
            scope: the request's; its path and its headers stay as they are.
            headers: the request's; of several with one name the last.
        """
        raise NotImplementedError

    def _join(self, *, touches: Iterable[bytes], adds: Iterable[bytes] = ()) -> None:
        """Form a chain with what stands inside.

        Args:
            touches: names of the headers that its rules look at or add.
            adds: names of the fields in its steps.
        """
        self.chain = _Chain(self, frozenset(touches), frozenset(adds))

    async def __call__(  # noqa: C901  # flat: parts of it, called for each request, cost 2 µs of 13
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        chain = self.chain
        app = chain.inside
        if scope["type"] == "http":
            begins = chain.begins
        elif scope["type"] == "websocket":
            begins = chain.websocket_begins
        else:
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"]) if chain.reads_headers else _UNREAD
        rules: list[Rule] = []
        values: Fields = []
        tokens: tuple[Token[Any], ...] = ()

        def send_edited(message: Message) -> Awaitable[None]:
            if message["type"] in _STARTS:
                # A copy: an application may send the same message with every response.
                fields = chain.edited(message, rules, values, scope)
                message = {**message, "headers": fields}
            return send(message)

        try:
            for begin, wrapper in begins:
                try:
                    step = begin(scope, headers)
                except Exception:
                    if wrapper is None:
                        raise
                    app = wrapper  # which wants to see exceptions: it runs that layer again, alone
                    break
                if step.app is not None:
                    app = step.app
                    break
                if step.rule is not None:
                    rules.append(step.rule)
                if step.field is not None:
                    values.append(step.field)
                if step.token is not None:
                    tokens = (step.token, *tokens)
            await app(scope, receive, send_edited if rules or values else send)
        finally:
            for token in tokens:  # the last first
                token.var.reset(token)


class _Chain:
    """A layer and those that it runs, the outermost first."""

    __slots__ = (
        "_kept",
        "_others",
        "adds",
        "begins",
        "decides_late",
        "inside",
        "reads_headers",
        "touches",
        "websocket_begins",
    )

    def __init__(
        self, layer: HeaderLayer, touches: frozenset[bytes], adds: frozenset[bytes]
    ) -> None:
        begin: _Begin = (layer.begin, None)
        self.begins = [begin]
        self.websocket_begins = [begin] if layer.on_websockets else []
        self.inside = layer.app
        self.reads_headers = layer.reads_headers
        self.decides_late = layer.decides_late
        self.touches, self.adds = touches, adds
        app: Any = layer.app
        wrapper = app if getattr(app, "is_transparent", False) else None
        inner = app.app if wrapper is not None else app
        # Fields of steps come last, unseen by any rule: a layer that looks at them stands apart.
        if isinstance(inner, HeaderLayer) and touches.isdisjoint(inner.chain.adds):
            self._append(inner, wrapper)
        self._others = ordinary_names(self.touches)
        self._kept: dict[tuple[Any, ...], Fields] = {}

    def _append(self, layer: HeaderLayer, wrapper: ASGIApp | None) -> None:
        chain = layer.chain
        first: _Begin = (layer.begin, wrapper)
        self.begins += [first, *chain.begins[1:]]
        if layer.on_websockets:
            self.websocket_begins += [first, *chain.websocket_begins[1:]]
        else:
            self.websocket_begins += chain.websocket_begins
        self.inside = chain.inside
        self.reads_headers |= chain.reads_headers
        self.decides_late |= chain.decides_late
        self.touches |= chain.touches
        self.adds |= chain.adds

    def edited(self, message: Message, rules: list[Rule], values: Fields, scope: Scope) -> Fields:
        """The headers of an answer's start: always a new list."""
        fields = message.get("headers", ())
        if type(fields) is not list:
            fields = list(fields)
        if self.decides_late:
            rules = [rule if rule.at is None else rule.at(scope) for rule in rules]
        kind, status = message["type"], message.get("status", 0)
        if kind != "http.response.start":
            rules = [rule for rule in rules if kind in rule.starts]
            return _by_rules(rules, fields, 0, scope) + values
        others = self._others
        for name, _ in fields:
            if name not in others:
                return _by_rules(rules, fields, status, scope) + values
        key = (status, *rules)
        kept = self._kept.get(key)
        if kept is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            kept = self._kept[key] = _by_rules(rules, [], status, scope)
        return [*fields, *kept, *values]


def _by_rules(rules: list[Rule], fields: Fields, status: int, scope: Scope) -> Fields:
    for rule in reversed(rules):  # the innermost first
        fields = rule.edit(fields, status, scope)
    return fields
