"""A text of the manifest → the name of an object in a cluster.

In: an id or title, whatever characters it has. Out: a label by RFC 1123: lower-case letters, digits
and `-`, at most so long. Two texts give one name only where they are equal: what loses a character
on the way gets a few digits of its hash.
"""

import hashlib
import re

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
LONGEST = 63
_HASHED = 6  # hexadecimal digits


def label(text: str, longest: int = LONGEST) -> str:
    """Return the name for `text`."""
    if LABEL.match(text) and len(text) <= longest:
        return text
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASHED]
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: longest - _HASHED - 1].strip("-")
    return f"{kept or 'x'}-{digits}"


def title_label(text: str, longest: int = LONGEST) -> str:
    """Return a readable name for one text that has no others beside it, or an empty one.

    It begins with a letter, as the name of a service has to.
    """
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if kept[:1].isdigit():
        kept = f"app-{kept}"
    return kept[:longest].strip("-")
