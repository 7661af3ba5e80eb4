"""Plain data → values of declared types, strictly where a person wrote them.

In: data as the text has it (strings, numbers, lists, mappings), in which leaves carry marks. Out:
what pydantic makes of it under its strict JSON rules (`"5"` is no int, `"a"` is an enum's member, a
list is a tuple), with marked text converted to the type that is wanted, and an import path where a
callable or a class is wanted loaded by whoever may import. Refuses by a list of `Fault`; of a value that nobody
knows yet (`Unknown`) only what no value could mend.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from assembler.diagnostics.errors import AssemblerError
from assembler.diagnostics.exceptions import failure_of
from assembler.document.nodes import NodePath
from assembler.document.provenance import Held, ResourceRef, Text, Unknown, marked, plain_of
from assembler.manifest.duration import is_duration, parse_duration
from assembler.manifest.pydantic_errors import OF_KEYS, Fault, faults_of, leaf_at, path_in

_ROUNDS = 5  # a list from the environment, its items, what they hold, and null for an empty text
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type", "sequence_str"}
_MAPPINGS = {"dict_type", "model_type", "dataclass_type", "model_attributes_type", "mapping_type"}
_INTEGERS = {"int_type", "int_parsing", "literal_error", "enum"}
_CODE = {"callable_type", "is_subclass_of", "is_type"}
_IMPORT_PATH = re.compile(r"[^\W\d]\w*([.:][^\W\d]\w*)+")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")
_FLOAT = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def convert(
    adapter: TypeAdapter[Any],
    data: Any,
    *,
    stand: Callable[[ResourceRef], Any] | None = None,
    load: Callable[[str], Any] | None = None,
    sample: Callable[[NodePath, Any], Any] | None = None,
) -> tuple[Any, list[Fault]]:
    """Validate `data` and return the value, or None with every fault.

    `stand` gives the object for a `ResourceRef`, `load` that of an import path which stands where a
    callable or a class is wanted (`Unknown` where only its source was read), or raises an
    `AssemblerError`. Data that holds objects is validated as Python
    values, all else as JSON, which is the strict mode that knows enums, dates and dataclasses.

    `sample` gives a value that the type at a path takes for an `Unknown` that it refuses, or the
    latter where only what is written would do: in the end there is a value, or a fault. Without it
    nothing is said of an `Unknown`, and there may be neither.
    """
    original = data
    refused: dict[NodePath, Fault] = {}
    nulls: dict[NodePath, list[Any]] = {}
    for _ in range(_ROUNDS):
        try:
            return _validated(adapter, data, stand), []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a validator of anybody's
            return None, [*refused.values(), _raised(adapter, data, stand, error)]
        repaired = data
        better_at: dict[NodePath, Any] = {}
        for item in errors:
            path = path_in(data, item["loc"])
            leaf = leaf_at(repaired, path)
            try:
                better = _better(leaf, path, item, load, sample)
            except AssemblerError as refusal:
                refused[path] = Fault(path, "import", str(refusal), refusal)
                continue
            if better is leaf and _may_be_null(leaf) and path not in nulls:
                better = None
                nulls[path] = [one for one in errors if path_in(data, one["loc"]) == path]
            if better is not leaf:
                better_at[path] = better
                repaired = _replaced(repaired, path, better)
        done = {*refused, *better_at}
        others = [item for item in errors if path_in(data, item["loc"]) not in done]
        # Data that holds an object is no JSON any more, and judged less strictly from then on.
        is_last_of_json = any(isinstance(better, Held) for better in better_at.values())
        if repaired is data or (others and is_last_of_json):
            errors = others
            break
        data = repaired
    errors = [item for item in errors if path_in(data, item["loc"]) not in refused]
    errors = list(_before_null(errors, data, nulls))
    excuses = sample is None
    return None, [*refused.values(), *faults_of(original, data, errors, excuses=excuses)]


def _raised(
    adapter: TypeAdapter[Any],
    data: Any,
    stand: Callable[[ResourceRef], Any] | None,
    error: BaseException,
) -> Fault:
    """Tell which value's validator raised what no validator should, by judging each alone."""
    for key, value in data.items() if isinstance(data, dict) else ():
        try:
            _validated(adapter, {key: value}, stand)
        except ValidationError:
            continue
        except KeyboardInterrupt:
            raise
        except BaseException as found:  # noqa: BLE001  # as above
            return Fault((key,), "raised", f"cannot be judged: {failure_of(found)}", found)
    return Fault((), "raised", f"cannot be judged: {failure_of(error)}", error)


def _better(
    leaf: Any,
    path: NodePath,
    error: Any,
    load: Callable[[str], Any] | None,
    sample: Callable[[NodePath, Any], Any] | None,
) -> Any:
    """Return what may stand in place of a leaf that was refused, or the leaf itself."""
    if error["type"] in OF_KEYS:  # of the mapping, whatever stands under the key
        return leaf
    if isinstance(leaf, Unknown):
        return sample(path, leaf) if sample else leaf
    return _repair(leaf, _wanted(error), load)


def _may_be_null(leaf: Any) -> bool:
    """Tell whether null stands for it, where its type takes that and does not take the text."""
    return isinstance(leaf, Text) and not leaf.strip()


def _before_null(errors: list[Any], data: Any, nulls: dict[NodePath, list[Any]]) -> Iterator[Any]:
    """Tell of an empty text that null could not stand for what was told of the text."""
    told = set()
    for item in errors:
        path = path_in(data, item["loc"])
        if path not in nulls:
            yield item
        elif path not in told:
            told.add(path)
            yield from nulls[path]


def _is_import(leaf: Any, wanted: str) -> bool:
    """Tell whether a person wrote an import path for code; the environment names none."""
    return wanted in _CODE and type(leaf) is str and bool(_IMPORT_PATH.fullmatch(leaf))


def _wanted(error: Any) -> str:
    """Return the type of an error; of JSON, pydantic tells a class and an object by one word."""
    if error.get("ctx", {}).get("method_name") == "issubclass":
        return "is_subclass_of"
    return str(error["type"])


def _validated(
    adapter: TypeAdapter[Any], data: Any, stand: Callable[[ResourceRef], Any] | None
) -> Any:
    try:
        text = json.dumps(data)
    except TypeError:  # it holds objects, and nothing else that JSON cannot say
        return adapter.validate_python(_unwrapped(data, stand))
    return adapter.validate_json(text, strict=True)


def _unwrapped(data: Any, stand: Callable[[ResourceRef], Any] | None) -> Any:
    if isinstance(data, dict):
        return {key: _unwrapped(value, stand) for key, value in data.items()}
    if isinstance(data, list):
        return [_unwrapped(value, stand) for value in data]
    if isinstance(data, ResourceRef):
        return stand(data) if stand else data
    return data.value if isinstance(data, Held) else data


def _replaced(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], value)
    return copy


def _repair(leaf: Any, wanted: str, load: Callable[[str], Any] | None) -> Any:
    """Return what `leaf` is in the type that pydantic asked for, or `leaf` itself."""
    if isinstance(leaf, Held):
        return _repair_held(leaf, wanted)
    if load and _is_import(leaf, wanted):
        found = load(leaf)
        return found if isinstance(found, Unknown) else Held(found, leaf)
    if wanted.startswith("time_delta") and isinstance(leaf, str) and is_duration(leaf):
        return f"PT{parse_duration(leaf).total_seconds()}S"
    if not isinstance(leaf, Text):
        return leaf
    if wanted in _LISTS:
        return _collection(leaf)
    if wanted in _MAPPINGS:
        parsed = _json(leaf, "{")
        return leaf if parsed is None else parsed
    text = leaf.strip()
    if wanted in _INTEGERS and _INTEGER.fullmatch(text):
        return int(text)
    if wanted.startswith("float_") and _FLOAT.fullmatch(text):
        return float(text)
    if wanted.startswith("bool_"):
        return _BOOLEANS.get(text.lower(), leaf)
    return leaf


def _repair_held(leaf: Held, wanted: str) -> Any:
    """Return what an object of the settings says as text, for a parameter that wants no object.

    A secret or a URL is text, a list of paths a list of texts; what is no text stays refused, and
    what an import path named in vain is that path again.
    """
    if not leaf.shown.startswith("${"):
        return Text(leaf.shown, leaf.shown) if wanted.startswith("string_") else leaf
    try:
        return marked(plain_of(leaf.value), leaf.shown)
    except TypeError:
        return leaf


def _collection(leaf: Text) -> Any:
    parsed = _json(leaf, "[")
    if parsed is not None:
        return parsed
    return [Text(part.strip(), leaf.shown) for part in leaf.split(",") if part.strip()]


def _json(leaf: Text, first: str) -> Any:
    """Read JSON text from the environment, marking its strings as the environment's."""
    if not leaf.lstrip().startswith(first):
        return None
    try:
        parsed = json.loads(leaf)
    except ValueError:
        return None
    return marked(parsed, leaf.shown)
