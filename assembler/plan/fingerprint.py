"""A plan → what may be told of it elsewhere, so that two of them can be compared.

In: a document and its SQL, an environment, the modules of the process. Out: a `Fingerprint`: the
merged manifest as it is written, without credentials; the hashes of its SQL; of each variable that
it refers to, and of each `.env` file that its settings are read from, a hash under the key
`ASSEMBLY_DRIFT_KEY`, which tells whether two of them are the same and nothing else (without the key
there is none); the hashes of the code that is loaded.
"""

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.diagnostics.secrets import is_secret, redact
from assembler.document.interpolation_checks import mentions
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, as_written

if TYPE_CHECKING:
    from assembler.plan.load import Plan
    from assembler.plan.sql.statement import SqlStep

KEY_VARIABLE = "ASSEMBLY_DRIFT_KEY"
_HIDDEN = "***"
_MOST_MODULES = 1000
_LARGEST_FILE = 1024 * 1024  # bytes of variables
_HASH_LENGTH = 16  # characters: enough to tell one source from another


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """One plan, without values.

    `digest` is that of the texts, None where they are not known; `environment` is None without a
    key, and has None for a variable that is not set, as `files` has for a `.env` file that is not
    there.
    """

    service: str
    digest: str | None
    manifest: str
    sql: dict[str, str]
    environment: dict[str, str | None] | None
    modules: dict[str, str]
    files: dict[str, str | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Instances that run the same."""

    instances: tuple[str, ...]
    fingerprint: Fingerprint


def grouped(running: "Iterable[tuple[str, Fingerprint]]") -> list[Replicas]:
    """Join instances of one fingerprint: which modules are loaded by now may differ, not their text."""
    groups: list[Replicas] = []
    for instance, found in sorted(running, key=itemgetter(0)):
        for place, group in enumerate(groups):
            known = group.fingerprint
            if replace(known, modules={}) == replace(found, modules={}) and _agree(
                known.modules, found.modules
            ):
                merged = replace(known, modules={**known.modules, **found.modules})
                groups[place] = Replicas((*group.instances, instance), merged)
                break
        else:
            groups.append(Replicas((instance,), found))
    return groups


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(name, code) == code for name, code in one.items())


def read_fingerprint(said: Mapping[str, Any]) -> Fingerprint:
    """Return what another process told; raises KeyError, TypeError or ValueError where it is none."""
    environment = said["environment"]
    return Fingerprint(
        service=str(said["service"]),
        digest=said["digest"],
        manifest=str(said["manifest"]),
        sql={str(key): str(value) for key, value in said["sql"].items()},
        environment=None if environment is None else dict(environment),
        modules={str(key): str(value) for key, value in said["modules"].items()},
        files=dict(said.get("files") or {}),  # an earlier version tells none
    )


def fingerprint(
    service: str,
    digest: str | None,
    document: Document,
    sql: "Iterable[SqlStep]",
    environment: Mapping[str, str],
    modules: Mapping[str, str],
    files: Iterable[str] = (),
) -> Fingerprint:
    """Make the fingerprint of a document; `files` are `.env` files, which are read now."""
    key = environment.get(KEY_VARIABLE)
    return Fingerprint(
        service,
        digest,
        json.dumps(without_credentials(as_written(document.root)), indent=1, ensure_ascii=False),
        {
            f"{step.entry.id}: {statement.label}": statement.hash
            for step in sql
            for statement in step.statements
        },
        None if not key else hashes([*_variables(document.root), KEY_VARIABLE], environment, key),
        dict(modules),
        {} if not key else {name: _file_hash(name, key) for name in files},
    )


def hashes(names: Iterable[str], environment: Mapping[str, str], key: str) -> dict[str, str | None]:
    """Return the keyed hash of each variable, None where it is not set."""
    return {
        name: None
        if name not in environment
        else _keyed(key, f"{name}={environment[name]}".encode("utf-8", "surrogateescape"))
        for name in names
    }


def env_files(plan: "Plan") -> list[str]:
    """Return the `.env` files of a plan: of its server, and those that classes of settings name."""
    own = plan.server.get("env_file")
    found: dict[str, None] = {} if not own else {str(own): None}
    for part in plan.parts:
        config = getattr(type(part.settings), "model_config", None)
        named = config.get("env_file") if isinstance(config, dict) else None
        several = named if isinstance(named, list | tuple) else () if named is None else (named,)
        found |= dict.fromkeys(str(name) for name in several)
    return list(found)


def _file_hash(name: str, key: str) -> str | None:
    """Hash a file; None for what is none: the name may be one that another process told."""
    try:
        path = Path(name).expanduser()
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return None
        return _keyed(key, b"%b\0%b" % (os.fsencode(name), path.read_bytes()))
    except (OSError, RuntimeError, ValueError):  # a home that nobody has, a zero byte
        return None


def _keyed(key: str, said: bytes) -> str:
    return hmac.new(key.encode("utf-8", "surrogateescape"), said, "sha256").hexdigest()


def loaded_modules(plan: "Plan") -> dict[str, str]:
    """Hash the sources of all loaded modules of the packages that a plan names.

    To be called when they have just been loaded: a source that changes later is not what runs.
    """
    components = (
        *(
            component
            for part in plan.parts
            for component in (*part.middleware, *part.handlers, *part.configure, *part.routes)
        ),
        *(*plan.resources, *plan.startup, *plan.jobs, *plan.background, *plan.shutdown),
    )
    packages = {
        name.partition(".")[0].partition(":")[0]
        for component in components
        for name in (component.target.path, getattr(component.target.value, "__module__", "") or "")
    }
    found: dict[str, str] = {}
    for name, module in sorted(sys.modules.items(), key=itemgetter(0)):
        file = getattr(module, "__file__", None)
        if file and name.partition(".")[0] in packages and len(found) < _MOST_MODULES:
            code = source_hash(Path(file))
            if code is not None:
                found[name] = code
    return found


def source_hash(file: Path) -> str | None:
    """Hash a source; None for what is none, or cannot be read."""
    if file.suffix != ".py":
        return None
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:_HASH_LENGTH]
    except OSError:
        return None


def _variables(root: MappingNode) -> list[str]:
    names = {
        reference.name: None
        for mention in mentions(root)
        for reference, _ in mention.references("environment")
    }
    return list(names)


def without_credentials(value: Any, name: str = "") -> Any:
    """Return plain data without credentials; a reference is none."""
    if isinstance(value, dict):
        return {key: without_credentials(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [without_credentials(item, name) for item in value]
    if isinstance(value, str):
        is_credential = name and "${" not in value and is_secret(name, "option")
        return _HIDDEN if is_credential else redact(value)
    return value
