"""What the assembler and components tell each other without importing one another: one page.

Each `Contract` is a name that one side puts somewhere and the other one reads; where it is absent,
the reader does without. Everything here is open to components of anybody: nothing is ours alone.
A test holds the page to the code: each reader and each teller that is named has the name in it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contract:
    """One name that is agreed upon.

    `place` is where it stands, `told_by` and `read_by` are files of this repository (other
    components may tell or read it as well), `meaning` is what it promises.
    """

    name: str
    place: str
    told_by: tuple[str, ...]
    read_by: tuple[str, ...]
    meaning: str


CONTRACTS = (
    Contract(
        "assembly",
        "attribute of `app.state`",
        ("assembler/application/app.py",),
        (
            "components/health/__init__.py",
            "components/metrics/exposition.py",
            "components/metrics/__init__.py",
            "components/scheduler.py",
        ),
        "the `Assembly` of `assembler.runtime.report`: state, steps, checks, jobs of the process",
    ),
    Contract(
        "replacements",
        "module of a package of components, with `replacement(path, options, state)`",
        ("components/replacements.py",),
        ("assembler/adopt/inventory.py",),
        "which component of the package does the same as a layer of others: `use`, the options that "
        "are `kept`, `options` of its own, and what `differs`; None where the meaning would change",
    ),
    Contract(
        "operations",
        "attribute of `app.state.assembly`, where a router has the `layer_role` `console`",
        ("assembler/application/build.py",),
        ("components/console/__init__.py",),
        "the `Operations` of `assembler.runtime.operations.facade`, plain data over all replicas: "
        "`instances()`, `drift()`, `figures()`, `explanation()`, `limits()`, `jobs()`, `runs(job)`, "
        "`orders()` and `order(kind, target, actor=…)` are awaited; `options()`, `timeline()`, "
        "`loggers()` and `store_state()` are not. Raises `OrderError` for what is not there, "
        "`OperationsAwayError` where the store does not answer",
    ),
    Contract(
        "figures",
        "method of a layer, without arguments",
        ("components/metrics/__init__.py", "components/middleware/rate_limit.py"),
        ("assembler/runtime/operations/figures.py",),
        "what the layer has counted in this process, as plain data, asked when somebody looks: "
        "`routes` (method, template, status, counts by `bounds`, seconds), `limits`, `in_flight`, "
        "`websockets`; or of a limiter `limits` (name, quota, seconds) and `refused_keys` (key, "
        "number), of which only hashes leave the process",
    ),
    Contract(
        "open_orders",
        "method of a store of claims, with `give` and `orders`",
        ("assembler/runtime/scheduler/sql_store.py", "assembler/runtime/scheduler/redis_store.py"),
        ("assembler/runtime/operations/facade.py", "assembler/runtime/scheduler/engine.py"),
        "where operators' orders are kept (`assembler.runtime.operations.orders`): `give(service, "
        "order)`, `orders(service, limit)`, `open_orders(service)`; without them an order is of one "
        "process",
    ),
    Contract(
        "critical",
        "attribute of a check in `app.state.assembly.checks`, and of a resource",
        ("assembler/runtime/report.py", "components/clients/fcm.py", "components/clients/sms.py"),
        ("components/health/__init__.py", "assembler/runtime/health_checks.py"),
        "the service is of no use without that resource: its absence makes readiness say no. A "
        "resource that says False fails the start, where it cannot be opened, and later degrades",
    ),
    Contract(
        "ping",
        "method of a resource, without arguments, async or not",
        ("components/database/__init__.py", "components/cache/__init__.py"),
        ("assembler/runtime/health_checks.py",),
        "asked by readiness: raises, or returns False, where the resource does not answer",
    ),
    Contract(
        "development_only",
        "attribute of a class, written `True` in its source",
        ("components/estate/stand_ins.py",),
        ("assembler/review/audit/exposure.py",),
        "it only pretends, for development and tests: `audit` reports it anywhere else",
    ),
    Contract(
        "shows_documentation",
        "attribute of a class of routers or of applications, written `True` in its source",
        ("components/docs/__init__.py",),
        ("assembler/review/audit/exposure.py", "assembler/review/diff/knowledge.py"),
        "it shows the OpenAPI document to whoever asks: `audit` reports it where strangers may ask, "
        "and `diff` where it comes or goes",
    ),
    Contract(
        "single_process",
        "attribute of a class, written `True` in its source",
        ("components/channels/__init__.py",),
        ("assembler/plan/load.py",),
        "each process has another one: with several workers `check` refuses it",
    ),
    Contract(
        "on_started",
        "method of a resource, with the `Assembly`",
        ("components/estate/events.py",),
        ("assembler/runtime/lifespan.py",),
        "called when all has started, jobs too; returns at once",
    ),
    Contract(
        "on_drain",
        "method of a resource, with seconds",
        ("components/channels/__init__.py",),
        ("assembler/runtime/signals.py",),
        "called when a drain begins, with how long it lasts: what is open for long is ended within "
        "that time; returns at once",
    ),
    Contract(
        "status_note",
        "attribute of a resource, a text or None",
        ("components/clients/exchange.py", "components/vectors/__init__.py"),
        ("assembler/runtime/report.py",),
        "what the page of details says of it, such as that it is off",
    ),
    Contract(
        "asked_resources",
        "attribute of an application that is mounted",
        ("components/mcp/server.py",),
        ("assembler/plan/injection.py",),
        "what its parts ask for, as tuples of a name, the id of a resource and a type: `check`, or the "
        "build where a factory makes it, proves that they are there and fit",
    ),
    Contract(
        "resource_id",
        "attribute of what stands in an `Annotated[…]`, a text",
        ("assembler/runtime/injection.py",),
        ("assembler/plan/injection.py", "components/mcp/server.py"),
        "the parameter is given the resource of that id, in jobs, steps of the start, functions of "
        "the end and tools; in routes where it is a `Depends` of FastAPI as well, as "
        "`assembler.Resource` is. No input schema shows it",
    ),
    Contract(
        "transient",
        "attribute of an exception, a bool",
        (),
        ("assembler/runtime/transient.py",),
        "whether what failed may pass by itself, so that the start tries again",
    ),
    Contract(
        "redis",
        "attribute of a resource",
        ("components/cache/redis.py",),
        ("assembler/runtime/scheduler/stores.py",),
        "a `redis.asyncio` client, which then can keep the claims of jobs",
    ),
    Contract(
        "announce",
        "method of a store of claims, with `withdraw` and `instances`",
        ("assembler/runtime/scheduler/sql_store.py", "assembler/runtime/scheduler/redis_store.py"),
        ("assembler/runtime/registry.py",),
        "`announce(service, instance, text)` keeps a row with the store's time, "
        "`withdraw(service, instance)` takes it back, `instances(service)` gives pairs of the "
        "milliseconds since and the text; a store without them has nothing for `drift` to compare",
    ),
    Contract(
        "looser",
        "key of `Field(json_schema_extra={…})` in the annotation of an option",
        ("components/middleware/cors.py",),
        ("assembler/plan/static/looseness.py",),
        "the direction in which a change of the option lets more through: `higher`, `lower`, "
        "`longer`, `shorter`, `true`, `false`, `order:a,b,c`; `neither` where it lets nobody do more. "
        "A change of an option that says none of these is to be reviewed",
    ),
    Contract(
        "layer_role",
        "attribute of a class of middleware, or of a mount or dependency that guards: a text that its "
        "source shows",
        (
            "components/middleware/rate_limit.py",
            "components/mcp/gate.py",
            "components/console/__init__.py",
        ),
        ("assembler/review/roles.py", "assembler/application/app.py"),
        "what the layer is for, by which `diff` and `audit` judge its presence and its place: "
        "`limiter`, `auth`, `allow-list`, `signature`, `csrf`, `cors`, `proxy`, `host`, `https`, "
        "`body-limit`, `timeout`, `security-headers`, `session`, `request-id`, `logging`, "
        "`compression`, `etag`, `cache`, `slash`, `metrics`, `tracing`; classes below it say the same. A router of pages for operators "
        "says `console`. "
        "Those of Starlette, FastAPI, uvicorn and others that are well known stand in a table there",
    ),
    Contract(
        "advised_min_length",
        "key of `Field(json_schema_extra={…})` in the annotation of an option",
        ("components/health/__init__.py", "components/metrics/exposition.py"),
        ("assembler/plan/signature.py", "assembler/plan/static/hints.py"),
        "the characters below which a secret may be guessed: `check` warns of a shorter one, and "
        "`audit` calls it high",
    ),
    Contract(
        "docs_exempt_from",
        "key of `Field(json_schema_extra={…})` in the annotation of an option",
        ("components/middleware/security_headers.py",),
        ("assembler/plan/sections/routes.py",),
        "the option lists pages to which the policy in the option of that name does not apply: "
        "`check` warns of documentation pages that are missing there",
    ),
    Contract(
        "reports",
        "attribute of an exception handler, a bool",
        ("components/errors/__init__.py",),
        ("assembler/application/middleware.py",),
        "the handler logs the exception itself: nobody else writes a record of it",
    ),
    Contract(
        "is_transparent",
        "attribute of an ASGI application, a bool",
        ("assembler/application/middleware.py",),
        ("components/middleware/header_layer.py",),
        "it wraps one application in `app` and edits nothing, so that header layers on both sides "
        "of it may run as one; it is skipped then, except for what raises",
    ),
    Contract(
        "send_outlives_call",
        "attribute of a middleware class, a bool",
        ("components/middleware/header_layer.py", "components/middleware/request_logging.py"),
        (
            "assembler/plan/closing_layers.py",
            "assembler/application/middleware.py",
        ),
        "its `send` holds no start back for longer than its first body, and may be called again "
        "after the layer has raised: the answer to an exception takes that way. False: it is of no "
        "use then, and the answer passes the layer by. Where nothing is said it is tried each time, "
        "which costs a call for each message",
    ),
    Contract(
        "openapi_operation",
        "method of a middleware, of an exception handler, or of a dependency of routes, with the "
        "HTTP method in upper case and the route's path, such as `/items/{id:int}`; on a function "
        "an attribute",
        (
            "components/http/openapi.py",
            "components/errors/__init__.py",
            "components/mcp/gate.py",
            "components/rate_limit/endpoint.py",
            "components/middleware/rate_limit.py",
        ),
        ("assembler/application/openapi.py",),
        "what it adds to that operation of the OpenAPI document, as a mapping in the words of "
        "OpenAPI 3.1, or None where it does not reach the route. `responses`: answers that it gives "
        "itself, by status, a range such as `4XX` or `default`; an error without `content` gets the "
        "body that the application's handler of HTTPException makes. `headers`: by status, range or "
        "`default` for all, those of answers that come from further in. `bodies`: of a handler, the "
        "content of the answers that it makes, by status, range or `default`; one that is registered "
        "for a status adds no `responses`, one for invalid requests takes the place of FastAPI's "
        "422. `parameters`; `security`, of which each must hold beside what others ask for; "
        "`components`, whose names are changed where they are taken; keys that begin with `x-`, here "
        "and in a response. Ours say under `x-limits` of a 429, 413 or 504 what is over: `quota`, "
        "`seconds`, `policy` and `by`, or `bytes`, or `seconds`. What the route declares stays, piece "
        "by piece: a status gets a body only where the route gives none, and a header only where it "
        "has none of that name. The path has no `root_path`; a layer around a mounted application "
        "is given the mount's path before it",
    ),
    Contract(
        "assembler.exchange",
        "key of an HTTP request's scope",
        ("assembler/application/middleware.py",),
        ("components/http/outcome.py",),
        "an object whose `at_end(function)` has `function(status)` called once when all is over, "
        "with the status that the server got, 0 for none. A layer that an exception passes, and "
        "that counts or logs requests, asks for it in place of ending itself",
    ),
    Contract(
        "assembler.trail",
        "key of a scope",
        ("assembler/testing/expect/exchange.py",),
        ("assembler/application/middleware.py",),
        "a list to which each place between layers appends how many stand outside it, the scope as "
        "it came, and the id of the layer around it where that is a route's or a mounted manifest's; who has it is given the answer to an exception, not the exception",
    ),
    Contract(
        "request_id",
        "key of a scope's `state`",
        ("components/middleware/request_id.py",),
        ("assembler/application/middleware.py",),
        "the ID of the request: it stands on the record of an unhandled exception",
    ),
)
"""All of them, in no order."""
