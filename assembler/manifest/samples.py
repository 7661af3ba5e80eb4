"""A type that pydantic wanted → a value that it would take.

In: pydantic's error about a value that nobody knows yet. Out: a sample, good for judging what
stands around it. Refuses nothing: where no sample is known, it is a text.
"""

import json
from typing import Any

_SAMPLES: dict[str, Any] = {
    "int": 1,
    "float": 1.0,
    "bool": False,
    "none": None,
    "list": [],
    "tuple": [],
    "set": [],
    "frozen_set": [],
    "sequence": [],
    "dict": {},
    "mapping": {},
    "model": {},
    "dataclass": {},
    "date_": "2000-01-01",
    "time_delta": "PT1S",
    "string_pattern": "GET /",
}
_WORDED_SAMPLES = {
    "duration": "1s",
    "start with `/`": "/x",
    "time zone": "UTC",
    "crontab": "0 0 * * *",
}


def sample(error: Any) -> Any:
    """Return a value that pydantic would take where it refused one that nobody knows yet."""
    context, wanted = error.get("ctx", {}), error["type"]
    for limit in ("ge", "le", "multiple_of"):
        if limit in context:
            return context[limit]
    if wanted in {"literal_error", "enum"}:
        first: str = str(context["expected"]).partition(" or ")[0].partition(", ")[0]
        return first[1:-1] if first.startswith("'") else json.loads(first)
    if wanted in {"value_error", "assertion_error"}:
        reason = str(context.get("error", ""))
        return next((value for word, value in _WORDED_SAMPLES.items() if word in reason), "x")
    return next((value for word, value in _SAMPLES.items() if wanted.startswith(word)), "x")
