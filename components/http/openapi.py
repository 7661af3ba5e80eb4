"""A fault that may come -> how an OpenAPI document shows it, body, headers and example.

In: the faults that a layer or handler answers with, and the shape that it writes them in. Out: an
offer, as `openapi_operation(method, path)` of a layer, handler or dependency returns it: plain
mappings in the words of OpenAPI 3.1. Whoever assembles the application adds it to the operations
that the part reaches; in a bare application nobody asks.
"""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from components.http.error_response import BodyShape, Fault, body_of, code_of

Offer = dict[str, Any]


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(name: str, about: str, /, **properties: Any) -> dict[str, Any]:
    """A schema; what may be missing has a key that ends in `_`."""
    return {
        "title": name,
        "type": "object",
        "description": about,
        "properties": {key.rstrip("_"): each for key, each in properties.items()},
        "required": [key for key in properties if not key.endswith("_")],
    }


_CODE = {"type": "string", "description": "For programs", "examples": ["not_found"]}
_MESSAGE = {"type": "string", "description": "For people"}
_DETAILS = {"type": "object", "additionalProperties": True}
_WHERE = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}

_SCHEMAS: dict[str, Any] = {
    "Error": _object("Error", "What went wrong.", error=_reference("ErrorDetail")),
    "ErrorDetail": _object(
        "ErrorDetail", "A fault.", code=_CODE, message=_MESSAGE, details=_DETAILS
    ),
    "InvalidRequest": _object(
        "InvalidRequest",
        "What is not valid in the request.",
        error=_reference("InvalidRequestDetail"),
    ),
    "InvalidRequestDetail": _object(
        "InvalidRequestDetail",
        "A fault of the request.",
        code=_CODE,
        message=_MESSAGE,
        details=_reference("InvalidFields"),
    ),
    "InvalidFields": _object(
        "InvalidFields",
        "The faults of the request, one by one.",
        errors={"type": "array", "items": _reference("InvalidField")},
        omitted_={"type": "integer", "description": "How many more there are"},
    ),
    "InvalidField": _object(
        "InvalidField",
        "One fault of the request.",
        loc={**_WHERE, "description": "Where it stands, from the outside in"},
        msg=_MESSAGE,
        type=_CODE | {"examples": ["missing"]},
    ),
    "Problem": _object(
        "Problem",
        "What went wrong (RFC 9457).",
        type={"type": "string", "format": "uri-reference"},
        title={"type": "string"},
        status={"type": "integer"},
        detail=_MESSAGE,
        code=_CODE,
        details=_DETAILS,
    ),
}
_HEADERS: dict[str, Any] = {
    "Retry-After": {
        "description": "Seconds after which to try again",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "Each policy's quota `q` in a window of `w` seconds",
        "schema": {"type": "string", "examples": ['"default";q=500;w=60']},
    },
    "RateLimit": {
        "description": "The units that remain `r`, and the seconds until there are more `t`",
        "schema": {"type": "string", "examples": ['"default";r=499;t=0']},
    },
}
COMPONENTS: Mapping[str, Any] = MappingProxyType({"schemas": _SCHEMAS, "headers": _HEADERS})
"""The bodies of errors, as `components.http.error_response` writes them, and their headers."""

HEADERS: Mapping[str, Any] = MappingProxyType(
    {name: {"$ref": f"#/components/headers/{name}"} for name in _HEADERS}
)
"""How headers of errors are shown; an offer that has one brings `COMPONENTS`."""

_SHAPES = {
    "accept": ("application/json", "application/problem+json"),
    "error": ("application/json",),
    "problem": ("application/problem+json",),
}


def content_of(body: BodyShape, *faults: Fault, schema: str = "Error") -> dict[str, dict[str, Any]]:
    """The content of an answer that has one of `faults`, with an example of each in the first form."""
    content: dict[str, dict[str, Any]] = {}
    for media in _SHAPES[body]:
        is_problem = media == "application/problem+json"
        shown: dict[str, Any] = {"schema": _reference("Problem" if is_problem else schema)}
        if faults and media == _SHAPES[body][0]:
            shown["examples"] = {
                fault.code or code_of(fault.status): {
                    "value": json.loads(body_of(fault, problem=is_problem)[1])
                }
                for fault in faults
            }
        content[media] = shown
    return content


def refusals(
    body: BodyShape | None,
    *faults: Fault,
    schema: str = "Error",
    limits: Mapping[int, Any] = MappingProxyType({}),
) -> Offer:
    """The offer of who answers with `faults`.

    Args:
        body: how it writes them; None where the application's own handlers do.
        faults: their headers are of `HEADERS`.
        schema: the name of the schema of a plain body.
        limits: by status, what an answer of it is about, for the key `x-limits`.
    """
    responses: dict[str, Any] = {}
    for status in dict.fromkeys(fault.status for fault in faults):
        same = [fault for fault in faults if fault.status == status]
        texts = dict.fromkeys(fault.message or fault.code for fault in same)
        response: dict[str, Any] = {"description": "; ".join(texts).capitalize()}
        fields = {name: HEADERS[name] for fault in same for name in fault.headers}
        if fields:
            response["headers"] = fields
        if body is not None:
            response["content"] = content_of(body, *same, schema=schema)
        if status in limits:
            response["x-limits"] = list(limits[status])
        responses[str(status)] = response
    return {"responses": responses, "components": COMPONENTS}


def secured(
    name: str, scheme: Mapping[str, Any], *, is_needed: bool, scopes: Iterable[str] = ()
) -> Offer:
    """The offer of who asks for credentials; where they are not needed, they may be left out."""
    wanted = {name: list(scopes)}
    return {
        "security": [wanted] if is_needed else [{}, wanted],
        "components": {"securitySchemes": {name: scheme}},
    }


def together(*offers: Offer) -> Offer:
    """Several offers of one part as one; each status is offered by one of them."""
    made: Offer = {}
    for offer in offers:
        for key, value in offer.items():
            if isinstance(value, Mapping):
                made[key] = {**made.get(key, {}), **value}
            else:
                made[key] = [*made.get(key, ()), *value]
    return made
