"""A key of the format → what it is without being said, and which way it loosens.

In: a model of `manifest` and a key. Out: the default as a manifest would write it, `UNTOLD` where
there is none; the direction that its field tells.
"""

from datetime import timedelta
from typing import Any

from assembler.manifest.duration import duration_text
from assembler.manifest.section import Section
from assembler.plan.static.looseness import UNTOLD


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
