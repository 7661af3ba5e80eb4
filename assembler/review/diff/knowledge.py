"""What a path in a manifest stands for → what is known of its options, its role, its text.

In: the `use` of an entry, and the modules that the base of a change has otherwise. Out: facts by the
source as it is now, and as it was: a change cannot turn the direction by which it is judged. Beside
them stand what the options of Starlette, FastAPI and uvicorn loosen, whose signatures do not say it
(from their docstrings and settings pages; a test holds the names equal to the signatures), and what a
key of the format is without being said. Nothing is imported or run, and what cannot be found is told
as such.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

from assembler.diagnostics.errors import UsageError
from assembler.manifest.duration import duration_text
from assembler.manifest.section import Section
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.static import SourceReader
from assembler.plan.static.looseness import UNTOLD, OptionFacts
from assembler.plan.static.module import EarlierTree
from assembler.review.roles import LayerRole, role_of

_CORS = {
    "allow_origins": "longer",
    "allow_origin_regex": "longer",
    "allow_methods": "longer",
    "allow_headers": "longer",
    "allow_credentials": "true",
    "allow_private_network": "true",
    "expose_headers": "longer",
    "max_age": "neither",
}
_DEBUG = {"debug": "true"}

KNOWN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "starlette.middleware.cors.CORSMiddleware": _CORS,
        "starlette.middleware.trustedhost.TrustedHostMiddleware": {"allowed_hosts": "longer"},
        "starlette.middleware.sessions.SessionMiddleware": {
            "max_age": "higher",
            "https_only": "false",
            "same_site": "order:strict,lax,none",
        },
        "starlette.middleware.errors.ServerErrorMiddleware": {"debug": "true"},
        "starlette.staticfiles.StaticFiles": {"follow_symlink": "true", "check_dir": "false"},
        "fastapi.applications.FastAPI": {
            **_DEBUG,
            "max_body_size": "higher",
            "strict_content_type": "false",
        },
        "starlette.applications.Starlette": _DEBUG,
        "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware": {"trusted_hosts": "longer"},
        "uvicorn.config.Config": {
            "access_log": "neither",
            "backlog": "higher",
            "date_header": "neither",
            "forwarded_allow_ips": "longer",
            "h11_max_incomplete_event_size": "higher",
            "http": "neither",
            "limit_concurrency": "higher",
            "limit_max_requests": "neither",
            "log_level": "neither",
            "loop": "neither",
            "port": "neither",
            "proxy_headers": "true",
            "reload": "true",
            "server_header": "true",
            "timeout_keep_alive": "higher",
            "timeout_worker_healthcheck": "higher",
            "uds": "neither",
            "use_colors": "neither",
            "ws_ping_interval": "neither",
            "ws_ping_timeout": "neither",
            "ws_max_queue": "higher",
            "ws_max_size": "higher",
        },
    }
)
FASTAPI = "fastapi.FastAPI"
SERVER = "uvicorn.config.Config"


@dataclass(frozen=True, slots=True)
class CallableFacts:
    """What is known of a callable: why it was not found, where it is defined, what it is and takes."""

    missing: str | None = None
    defined: str = ""
    options: Mapping[str, OptionFacts] | None = None
    role: LayerRole | None = None

    def of(self, name: str) -> OptionFacts | None:
        """Return the facts of one option, None where the source tells of no such option."""
        return (self.options or {}).get(name)


@dataclass(slots=True)
class Knowledge:
    """Looks up callables, each once for either side.

    `tree` finds the modules that the old side has otherwise; without it both sides have the same.
    """

    tree: Callable[[], EarlierTree | None] | None = None
    _readers: list[SourceReader] = field(default_factory=list)
    _facts: dict[tuple[str, bool], CallableFacts] = field(default_factory=dict)
    _changed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _earlier: EarlierTree | None = None

    def now(self, use: str) -> CallableFacts:
        """Return what the source as it is tells of the callable that `use` names."""
        return self._looked_up(use, is_old=False)

    def before(self, use: str) -> CallableFacts:
        """Return what the base of the change tells."""
        return self._looked_up(use, is_old=True)

    def judges(self, *uses: str | None) -> tuple[CallableFacts, ...]:
        """Return the facts by which options are judged, those of the base first; the worst holds."""
        named = dict.fromkeys(use for use in uses if use)
        found = [self.before(use) for use in named]
        found += [self.now(uses[-1])] if uses and uses[-1] else []
        known = [facts for facts in found if facts.missing is None]
        return tuple(facts for at, facts in enumerate(known) if facts not in known[:at])

    def role(self, use: str | None) -> LayerRole | None:
        """Return what a layer is for: by the base, and by the change only where that has none."""
        return (self.before(use).role or self.now(use).role) if use else None

    def shows_documentation(self, use: str) -> bool:
        """Tell whether what `use` names, or gives, says on either side that it does."""
        return any(_says(reader, use, "shows_documentation") for reader in self._read_by())

    def changed_modules(self, use: str) -> tuple[str, ...]:
        """Return the modules behind `use` that have another text, or are other files, than before."""
        readers = self._read_by()
        if readers[0] is readers[-1]:
            return ()
        if use not in self._changed:
            before, now = (_modules(reader, use) for reader in readers)
            self._changed[use] = tuple(
                name
                for name in {**before, **now}
                if before.get(name) != now.get(name) or self._runs_otherwise(now[name][0])
            )
        return self._changed[use]

    def _runs_otherwise(self, file: str | None) -> bool:
        """Tell whether bytecode that the change brings may run in place of a text."""
        tree = self._earlier
        return file is not None and tree is not None and tree.has_other_bytecode(Path(file))

    def _looked_up(self, use: str, *, is_old: bool) -> CallableFacts:
        reader = self._read_by()[0 if is_old else -1]
        key = (use, is_old and reader is not self._readers[-1])
        if key not in self._facts:
            self._facts[key] = _read(reader, use)
        return self._facts[key]

    def _read_by(self) -> list[SourceReader]:
        """Return the readers of both sides, which may be one and the same."""
        if not self._readers:
            everything, tree = ImportList(None, None), self.tree and self.tree()
            self._earlier = tree
            self._readers = [SourceReader(everything)]
            if tree is not None:
                self._readers.insert(0, SourceReader(everything, tree))
        return self._readers


def _read(reader: SourceReader, use: str) -> CallableFacts:
    role = role_of(use, reader)
    try:
        defined, options = reader.options(use)
    except ImportFault as fault:
        return CallableFacts(missing=fault.message, role=role)
    except (UsageError, RecursionError) as error:
        return CallableFacts(missing=str(error), role=role)
    known = KNOWN.get(defined, {})
    if options is None:
        return CallableFacts(defined=defined, role=role)
    merged = {
        name: replace(fact, looser=fact.looser or known.get(name)) for name, fact in options.items()
    }
    return CallableFacts(defined=defined, options=merged, role=role)


def _says(reader: SourceReader, use: str, attribute: str) -> bool:
    try:
        return reader.lineage(use, attribute)[1] is True
    except (ImportFault, UsageError, RecursionError):
        return False


def _modules(reader: SourceReader, use: str) -> dict[str, tuple[str | None, str | None]]:
    try:
        sources = reader.modules(use)
        return {one.name: (one.file and os.path.abspath(one.file), one.code) for one in sources}  # noqa: PTH100  # links are not followed
    except (ImportFault, UsageError, RecursionError):
        return {}


def default_of(model: type[Section], key: str) -> Any:
    """Return the default of a key."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    field = fields.get(key)
    if field is None or field.is_required():
        return UNTOLD
    value = field.get_default(call_default_factory=True)
    return duration_text(value) if isinstance(value, timedelta) else value


def looser_of(model: type[Section], key: str) -> str | None:
    """Return which way a key loosens; None where its field does not tell."""
    more = model.model_fields[key].json_schema_extra
    return str(more["looser"]) if isinstance(more, dict) and "looser" in more else None
