"""The `server` section → keyword arguments of uvicorn's own `Config`.

In: the manifest, its tree, a resolver, something that finds what import paths name. Out: the
arguments, or every fault. Refuses what `Config` takes and uvicorn fails with later, or imports by
itself: a name of a loop or protocol that it does not know, unless it is a path that a manifest may
import; an unknown log level; a logging configuration, for which there is a section; what takes the
application for another kind of one, so that it never starts; TLS without a certificate.
"""

from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode, Node, locate
from assembler.document.provenance import Unknown
from assembler.manifest import Manifest
from assembler.manifest.app import Server
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import search_path
from assembler.plan.options import OptionsChecker
from assembler.plan.signature import Signature, Target, signature_of
from assembler.plan.targets import Targets

_OWN = (
    *("drain", "termination_grace", "max_header_bytes"),
    *("reload_timeout", "runtime_dir"),
)  # keys that uvicorn does not have
_JUDGED = ("loop", "http", "ws", "log_level")
_SETTLED: dict[str, tuple[Any, ...]] = {
    "lifespan": ("auto", "on"),
    "interface": ("auto", "asgi3"),
    "factory": (False,),
}  # what the application is: with another value resources never open, or no request is answered
_NEEDING = dict.fromkeys(
    ("ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_ciphers"), "ssl_certfile"
)  # uvicorn fails without, or serves without TLS
_LIMITED = ("auto", "httptools", "h11")  # protocols that keep `max_header_bytes`


def check_server(
    manifest: Manifest, root: MappingNode, resolver: Resolver, targets: Targets, *, is_static: bool
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Check the section, and return the arguments with the format's defaults."""
    own = manifest.server
    defaults: dict[str, Any] = {
        "host": own.host,
        "port": own.port,
        "workers": own.workers,
        "timeout_graceful_shutdown": own.timeout_graceful_shutdown,
    }
    node = root.get("server")
    if not isinstance(node, MappingNode):
        return defaults, []
    data = resolver.data(node, ("server",))
    for key in _OWN:
        data.pop(key, None)
    target = Target("server", None, "class", True, False, _signature(is_static=is_static))
    checker = OptionsChecker({}, targets.target)
    span = root.members["server"].key
    options, faults = checker.check(target, node, data, span, frozenset())
    faults += _values(node, data, targets)
    arguments, _ = options.arguments({})
    faults += _unfit(node, arguments)
    return {**defaults, **arguments}, faults


def check_single_process(
    manifest: Manifest,
    root: MappingNode,
    owner: Manifest,
    owners_root: MappingNode,
    is_single: Callable[[str], bool],
) -> Iterator[Diagnostic]:
    """Refuse several workers beside a resource that is another one in each of them.

    `manifest` has the server, `owner` the resources: it is the same one, or is mounted in it.
    `is_single` says by a resource's id whether its class has `single_process = True`.
    """
    if manifest.server.workers < 2:
        return
    workers, _ = locate(root, ("server", "workers"))
    for id_ in owner.resources:
        if is_single(id_):
            node, key = locate(owners_root, ("resources", id_))
            yield Diagnostic(
                "single-process",
                f"`{id_}` serves one process, and {manifest.server.workers} workers are wanted",
                workers.span,
                notes=(Note((key or node.span), "another one in each of them"),),
                help="use one that processes share, or a single worker",
            )


def unknown_keys(root: MappingNode, *, is_static: bool) -> Iterator[Diagnostic]:
    """Find the keys that neither the format nor uvicorn's `Config` has."""
    node = root.get("server")
    members = node.members if isinstance(node, MappingNode) else {}
    others = members.keys() - Server.model_fields.keys()
    if not others:
        return
    known = dict.fromkeys([*Server.model_fields, *_signature(is_static=is_static).parameters])
    unknown = others - known.keys()
    wrong = [(name, member) for name, member in members.items() if name in unknown]
    for told, (name, member) in enumerate(wrong):
        message = f"`server` has no key `{name}`"
        remedy = did_you_mean(name, known, told=told)
        yield Diagnostic("unknown-key", message, member.key, "unknown key", help=remedy)


@cache
def _signature(*, is_static: bool) -> Signature:
    """Return what `Config` takes; by its source, uvicorn takes a fifth of a static check to import."""
    if is_static and not _is_shadowed("uvicorn"):
        from assembler.plan.static import SourceReader  # noqa: PLC0415  # a start reads no source

        reader = SourceReader(ImportList(("uvicorn",), None))
        return reader.target("uvicorn.config.Config", leading=1).signature
    import uvicorn  # noqa: PLC0415  # only a manifest with a server section needs it

    return signature_of(uvicorn.Config, "server", leading=1)


def _is_shadowed(package: str) -> bool:
    """Tell whether the project has one of that name, which is not what serves it."""
    theirs = PathFinder.find_spec(package, search_path())
    ours = find_spec(package)
    return theirs is None or ours is None or theirs.origin != ours.origin


def _values(node: MappingNode, data: dict[str, Any], targets: Targets) -> Iterator[Diagnostic]:
    """Judge the texts that `Config` takes whatever they say."""
    if data.get("log_config") is not None:
        message = "`log_config` of `server` must be null"
        remedy = "write it as the `logging` section"
        span = node.members["log_config"].key
        yield Diagnostic("bad-value", message, span, help=remedy)
    if data.keys().isdisjoint(_JUDGED):
        return
    from uvicorn import config  # noqa: PLC0415  # as above

    # uvicorn before 0.36 keeps them under another name.
    loops = getattr(config, "LOOP_FACTORIES", None) or getattr(config, "LOOP_SETUPS", {})
    names: dict[str, Any] = {
        "loop": loops,
        "http": config.HTTP_PROTOCOLS,
        "ws": config.WS_PROTOCOLS,
    }
    for key, known in names.items():
        value = data.get(key)
        if isinstance(value, str) and not isinstance(value, Unknown):
            yield from _named(key, value, list(known), node.members[key].value, targets)
    http = data.get("http", "auto")
    if "max_header_bytes" in node.members and http not in (*_LIMITED, None):
        message = f"`max_header_bytes` holds for `http: httptools` and `h11`, not for `{http}`"
        yield Diagnostic("bad-value", message, node.members["max_header_bytes"].key)
    level, levels = data.get("log_level"), list(config.LOG_LEVELS)
    is_known = not isinstance(level, str) or isinstance(level, Unknown) or level.lower() in levels
    if not is_known:
        yield _unknown("log_level", str(level), levels, node.members["log_level"].value)


def _unfit(node: MappingNode, arguments: dict[str, Any]) -> Iterator[Diagnostic]:
    """Judge what `Config` takes together, once it has its types."""
    for key, allowed in _SETTLED.items():
        value = arguments.get(key, allowed[0])
        if not isinstance(value, Unknown) and value not in allowed:
            values = " or ".join(f"`{_written(one)}`" for one in allowed)
            message = f"`{key}` of `server` must be {values}: the application would not start"
            yield Diagnostic("bad-value", message, node.members[key].value.span)
    for key, other in _NEEDING.items():
        if arguments.get(key) and not (arguments.get(other) or "ssl_context_factory" in arguments):
            message = f"`{key}` of `server` needs `{other}`"
            yield Diagnostic("bad-value", message, node.members[key].key)
    if arguments.get("http2") is True and arguments.get("http") != "zttp":
        message = "`http2` of `server` needs `http: zttp`"
        yield Diagnostic("bad-value", message, node.members["http2"].key)


def _named(
    key: str, value: str, known: list[str], node: Node, targets: Targets
) -> Iterator[Diagnostic]:
    if value in known:
        return
    if ":" not in value:  # uvicorn imports no other form
        yield _unknown(key, value, known, node)
        return
    try:
        targets.target(value)
    except ImportFault as fault:
        yield fault.at(node.span)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(key: str, value: str, known: list[str], node: Node) -> Diagnostic:
    names = ", ".join(f"`{name}`" for name in known)
    message = f"`{key}` of `server` must be one of {names}, not `{value}`"
    return Diagnostic("bad-value", message, node.span, help=did_you_mean(value, known))
