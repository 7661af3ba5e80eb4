"""The console: what runs, on one page, over all replicas.

In: requests of operators; `app.state.assembly.operations`, whose methods give the data. Out: `router`,
with pages that are rendered here and work without scripts, an event stream that keeps them fresh, and
the same data as JSON. Refused, as 404: whoever may not look, as `components.console.access` says.
Nothing here stands on the path of other requests: no layer, and no work until a page is asked for.

`GET api/NAME` answers `{"format": 1, "store": {…}, …}`; more keys may be added. NAME is `overview`
(`instances`, `resources`, `jobs`, `drift`, `reload`, `background`, `lazy`), `explain` (`middleware` and
`routes` with figures; `q`, `page`, `order=requests`), `jobs`, `runs` (`job`, `state`, `period` of `1h`,
`24h`, `7d` or `all`, or `since` and `until`, `limit`), `limits`, `start`, `options` (`q`, `page`),
`loggers` (`q`) or `orders`. Numbers that nobody measured are null. With `actions`, `POST api/orders`
takes `{"kind", "target", "value", "minutes"}` and answers 202 with the order: `run`, `pause` and
`resume` a job, `retry` the ID of a run, `level` a logger (`value` is the level, for so many `minutes`),
`open` a lazy mount. A faulty parameter is 422, a store that is away 503, each with `error`.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter
from pydantic import Field, SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from components.console.access import LONGEST_NAME, ConsoleAccess, Visitor
from components.console.pages import HEADERS, PAGES, ConsolePage, Templates
from components.console.views import VIEWS, BadQueryError, Data, plain
from components.health.access import PrintableToken

__all__ = ["Console", "router"]

Handler = Callable[[Request], Awaitable[Response]]
_LARGEST_BODY = 16 * 1024  # bytes
_LIVE_SECONDS = 2.0  # between two looks at what has changed
_LOOK_SECONDS = 0.25  # at whether the process drains
_STREAM_SECONDS = 600.0  # then a browser comes again, and shows that it may
_MOST_STREAMS = 20
_ALL = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_ID = re.compile(r"[0-9a-f]{32}")
_FOREIGN = "The form was sent by another site, or a proxy does not pass the Host on."
_LIFETIMES = (5, 15, 60, 240)  # minutes of a level
_MOST_FORMS = 1000  # that are known again


class Console(APIRouter):
    """The routes of a console; by its role the assembler knows that somebody looks."""

    layer_role = "console"


def router(
    *,
    token: Annotated[
        SecretStr | None,
        PrintableToken,
        Field(
            description="what operators log in with; without one the console is for this machine alone",
            json_schema_extra={"advised_min_length": 16, "looser": "shorter"},
        ),
    ] = None,
    actions: Annotated[
        bool,
        Field(
            description="let operators run, pause and retry jobs, change levels and open lazy mounts",
            json_schema_extra={"looser": "true"},
        ),
    ] = False,
) -> Console:
    """The pages of the console, to be included with a prefix such as `/_assembly`.

    They show what runs, over all replicas that share the scheduler's store: processes, resources with
    their last error, jobs and their runs, drift, the last reload; each layer and route with its figures
    (where `MetricsMiddleware` counts), limits, the start's timeline, where each option came from,
    loggers. Without a token they are for this machine alone (through no proxy, by a name of loopback),
    else 404; with one, operators log in at `login` and scripts send it as a bearer. Orders of operators
    are rows that every process carries out within five seconds, with who gave them. `GET api/overview`
    is the same as JSON, `format: 1`; the module's own text has the other names and their parameters.
    The extra `pages` brings what they need.

    Raises ValueError where `token` is empty or not plain ASCII, ModuleNotFoundError without jinja2.
    """
    if find_spec("jinja2") is None:  # imported by the first page
        raise ModuleNotFoundError("the console needs jinja2: install fastapi-assembler[pages]")
    pages = _ConsolePages(ConsoleAccess(token), with_actions=actions)
    made = Console(include_in_schema=False)

    def add(path: str, handler: Handler, *methods: str) -> None:
        made.add_api_route(path, handler, methods=list(methods), response_model=None)

    for page in PAGES.values():
        add(page.path, pages.shown(page), "GET", "HEAD")
    add("/", pages.shown(PAGES["overview"]), "GET", "HEAD")
    add("/login", pages.login_form, "GET", "HEAD")
    add("/login", pages.login, "POST")
    add("/logout", pages.logout, "POST")
    add("/orders", pages.order_of_form, "POST")
    add("/live", pages.live, "GET")
    add("/static/{name}", pages.file, "GET", "HEAD")
    add("/api/orders", pages.order_of_script, "POST")
    add("/api/{name}", pages.data, "GET", "HEAD")
    for path in ("", "/{rest:path}"):  # a method that is not known must tell strangers nothing
        add(path, pages.nothing, *_ALL)
    return made


class _ConsolePages:
    """What is the same for all requests."""

    def __init__(self, access: ConsoleAccess, *, with_actions: bool) -> None:
        self._access = access
        self._with_actions = with_actions
        self._templates = Templates()
        self._streams = 0
        self._forms: dict[tuple[str, ...], asyncio.Task[Any]] = {}

    def shown(self, page: ConsolePage) -> Handler:
        """Make what shows a page."""

        async def show(request: Request) -> Response:
            base = _base(request, page.path)
            visitor = self._visitor(request, base)
            said = await self._said(request, page, visitor, base, _new_once())
            return self._templates.page("page.html", said, said["status"])

        return show

    async def data(self, request: Request) -> Response:
        """The data of a page, for programs."""
        name = request.path_params["name"]
        self._visitor(request, _base(request, f"/api/{name}"))
        view = VIEWS.get(name)
        if view is None:
            raise HTTPException(404)
        operations = _operations(request)
        try:
            told = await view(operations, plain(request.query_params))
        except BadQueryError as error:
            return _json(422, {"format": 1, "error": str(error)})
        except Exception as error:
            if _is_unknown(error):
                return _json(404, {"format": 1, "error": str(error)})
            if not _is_away(error):
                raise
            facts = {"format": 1, "store": operations.store_state(), "error": str(error)}
            return _json(503, facts)
        return _json(200, {"format": 1, "store": operations.store_state(), **told})

    async def live(self, request: Request) -> Response:
        """The part of a page that changes, each time that it has, as an event stream."""
        base = _base(request, "/live")
        visitor = self._visitor(request, base)
        page = PAGES.get(request.query_params.get("of", ""))
        if page is None or not page.is_live:
            raise HTTPException(404)
        if self._streams >= _MOST_STREAMS:
            return Response(status_code=503, headers={**HEADERS, "retry-after": "10"})
        events = self._events(request, page, visitor, base)
        headers = {**HEADERS, "cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def file(self, request: Request) -> Response:
        """The style, or the script."""
        name = request.path_params["name"]
        self._visitor(request, _base(request, f"/static/{name}"))
        found = self._templates.file(name)
        if found is None:
            raise HTTPException(404)
        return found

    async def login_form(self, request: Request) -> Response:
        """The form; its style comes by the same path, as strangers may see no other."""
        base = _base(request, "/login")
        if not self._access.has_token:
            self._visitor(request, base)
            return _to(base)
        if "style" in request.query_params:
            found = self._templates.file("console.css")
            if found is not None:
                return found
        return self._login_page(request, base, 200)

    async def login(self, request: Request) -> Response:
        """Judge what the form says."""
        base = _base(request, "/login")
        if not self._access.has_token:
            raise HTTPException(404)
        if not self._access.may_change(request, Visitor("", "cookie")):
            return self._login_page(request, base, 403, _FOREIGN)
        form = dict(parse_qsl((await _body(request)).decode("utf-8", "replace")))
        name = " ".join(form.get("name", "").split())[:LONGEST_NAME]
        if not name.isprintable():
            name = ""
        judged = self._access.login(request, form.get("token", ""))
        if judged is True and name:
            response = _to(base)
            self._access.begin(response, name, base)
            return response
        if judged is True:
            return self._login_page(request, base, 422, "Say who you are: orders are written down.")
        if judged is False:
            return self._login_page(request, base, 403, "That is not the token.")
        response = self._login_page(
            request, base, 429, f"Too many wrong tokens: wait {judged} seconds."
        )
        response.headers["retry-after"] = str(judged)
        return response

    async def logout(self, request: Request) -> Response:
        """Forget who it is."""
        base = _base(request, "/logout")
        visitor = self._visitor(request, base)
        self._refuse_foreign(request, visitor)
        response = _to(f"{base}/login")
        self._access.end(response, base)
        return response

    async def order_of_form(self, request: Request) -> Response:
        """Take an order of a page, and go back there."""
        base = _base(request, "/orders")
        visitor = self._visitor(request, base)
        if not self._with_actions:
            raise HTTPException(404)
        self._refuse_foreign(request, visitor)
        form = dict(parse_qsl((await _body(request)).decode("utf-8", "replace")))
        page = PAGES.get(form.get("back", ""), PAGES["orders"])
        try:
            given = await self._ordered_once(request, visitor, form)
        except (ValueError, RuntimeError) as error:
            return await self._refused(request, base, visitor, str(error))
        query = {"ordered": given.id}
        if page.name == "runs" and form.get("job"):
            query["job"] = form["job"]
        return _to(f"{base}{page.path}?{urlencode(query)}")

    async def order_of_script(self, request: Request) -> Response:
        """Take an order of a program."""
        base = _base(request, "/api/orders")
        visitor = self._visitor(request, base)
        if not self._with_actions:
            raise HTTPException(404)
        self._refuse_foreign(request, visitor)
        try:
            said = json.loads(await _body(request))
            form = {str(key): str(value) for key, value in said.items() if value is not None}
            "".join(form.values()).encode()  # half a pair of surrogates is no text
            given = await self._order(request, visitor, form)
        except (ValueError, AttributeError, RecursionError) as error:
            text = str(error) if _is_unknown(error) else "an order is a mapping of texts"
            return _json(422, {"format": 1, "error": text})
        except RuntimeError as error:
            return _json(503, {"format": 1, "error": str(error)})
        return _json(202, {"format": 1, "order": given.as_dict()})

    async def nothing(self, request: Request) -> Response:
        """There is nothing here, whoever asks."""
        raise HTTPException(404)

    # --- what they share

    def _visitor(self, request: Request, base: str) -> Visitor:
        """Return who looks; raises 404 for a stranger."""
        request.scope["console_path"] = base
        visitor = self._access.visitor(request)
        if visitor is None:
            raise HTTPException(404)
        return visitor

    def _refuse_foreign(self, request: Request, visitor: Visitor) -> None:
        if not self._access.may_change(request, visitor):
            raise HTTPException(403, "a change is asked for by a page of this site")

    def _login_page(
        self, request: Request, base: str, status: int, fault: str | None = None
    ) -> Response:
        said = {
            "base": base,
            "title": request.app.title,
            "fault": fault,
            "version": self._templates.versions["console.css"],
        }
        return self._templates.page("login.html", said, status)

    async def _said(
        self, request: Request, page: ConsolePage, visitor: Visitor, base: str, once: str
    ) -> Data:
        """Return all that the template of a page says; `once` tells its forms from those of others."""
        operations = _operations(request)
        query = plain(request.query_params)
        data, fault, status = {}, None, 200
        try:
            data = await VIEWS[page.name](operations, query)
        except BadQueryError as error:
            fault, status = str(error), 422
        except Exception as error:
            if _is_unknown(error):
                fault, status = str(error), 404
            elif _is_away(error):
                fault = f"The store does not answer: {error}"
            else:
                raise
        ordered = query.get("ordered", "")
        return {
            "base": base,
            "once": once,
            "page": page,
            "pages": PAGES.values(),
            "title": request.app.title,
            "docs": request.app.docs_url if request.app.openapi_url else None,
            "root": request.scope.get("root_path", ""),
            "visitor": visitor,
            "actions": self._with_actions,
            "query": query,
            "data": data,
            "fault": fault,
            "status": status,
            "ordered": ordered if _ID.fullmatch(ordered) else None,
            "store": operations.store_state(),
            "now_ms": time.time() * 1000,
            "lifetimes": _LIFETIMES,
            "versions": self._templates.versions,
        }

    async def _events(
        self, request: Request, page: ConsolePage, visitor: Visitor, base: str
    ) -> AsyncIterator[str]:
        self._streams += 1
        end = time.monotonic() + _STREAM_SECONDS
        shown, once = "", _new_once()
        try:
            yield "retry: 3000\n\n"
            while time.monotonic() < end and _is_serving(request):
                said = await self._said(request, page, visitor, base, once)
                part = self._templates.render("live.html", said)
                if part != shown:
                    shown = part
                    lines = "".join(f"data: {line}\n" for line in part.splitlines() if line.strip())
                    yield f"event: part\n{lines}\n"
                else:
                    yield ": nothing new\n\n"
                until = time.monotonic() + _LIVE_SECONDS
                while time.monotonic() < until and _is_serving(request):  # noqa: ASYNC110  # nobody tells
                    await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._streams -= 1

    async def _ordered_once(
        self, request: Request, visitor: Visitor, form: Mapping[str, str]
    ) -> Any:
        """Give the order of a form, once however often its button is pressed. Raises as `_order`."""
        once = form.get("once", "")
        if not once:
            return await self._order(request, visitor, form)
        key = (visitor.name, once, form.get("kind", ""), form.get("target", ""))
        given = self._forms.get(key)
        if given is None:
            given = asyncio.create_task(self._order(request, visitor, form))
            given.add_done_callback(_retrieved)
            self._forms[key] = given
            while len(self._forms) > _MOST_FORMS:
                del self._forms[next(iter(self._forms))]
        try:
            return await asyncio.shield(given)
        except Exception:
            self._forms.pop(key, None)  # what was refused may be pressed again
            raise

    async def _order(self, request: Request, visitor: Visitor, form: Mapping[str, str]) -> Any:
        """Give an order. Raises ValueError for one that makes no sense, RuntimeError without a store."""
        minutes = form.get("minutes", "")
        lasts = None
        if minutes:
            is_number = minutes.isascii() and minutes.isdigit() and len(minutes) < 6
            lasts = timedelta(minutes=int(minutes)) if is_number else timedelta(0)
        try:
            return await _operations(request).order(
                form.get("kind", ""),
                form.get("target", ""),
                actor=form.get("actor") or visitor.name
                if visitor.way == "loopback"
                else visitor.name,
                value=form.get("value"),
                lasts=lasts,
            )
        except Exception as error:
            if not _is_away(error):
                raise
            raise RuntimeError(f"the store does not answer: {error}") from error

    async def _refused(
        self, request: Request, base: str, visitor: Visitor, reason: str
    ) -> Response:
        said = await self._said(request, PAGES["orders"], visitor, base, _new_once())
        said["fault"] = f"Not ordered: {reason}"
        return self._templates.page("page.html", said, 422)


def _new_once() -> str:
    return secrets.token_hex(8)


def _retrieved(task: "asyncio.Task[Any]") -> None:
    """Look at what went wrong, as who asked may have gone."""
    if not task.cancelled():
        task.exception()


def _operations(request: Request) -> Any:
    """Return what knows the application; raises 404 in one that was not assembled."""
    found = getattr(getattr(request.app.state, "assembly", None), "operations", None)
    if found is None:
        raise HTTPException(404)
    return found


def _is_serving(request: Request) -> bool:
    return bool(request.app.state.assembly.state == "started")


def _is_unknown(error: Exception) -> bool:
    """Tell whether what was asked for is not there: by the name, as nothing is imported for it."""
    return type(error).__name__ == "OrderError"


def _is_away(error: Exception) -> bool:
    return type(error).__name__ == "OperationsAwayError"


def _base(request: Request, suffix: str) -> str:
    """Return the path of the console, which stands before what the route itself says."""
    return request.url.path.removesuffix("/").removesuffix(suffix)


def _to(path: str) -> Response:
    return RedirectResponse(path or "/", 303, dict(HEADERS))


def _json(status: int, content: Data) -> Response:
    return JSONResponse(content, status, dict(HEADERS))


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(413)
    return body
