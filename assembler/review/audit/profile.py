"""What a manifest is for → the profile by which it is judged.

In: the path of a manifest. Out: a profile, by the words of the file's name; where they tell none,
`prod`, which is judged most strictly. Refuses nothing.
"""

import re
from pathlib import Path

from assembler.review.audit.rule import Profile

_WORDS: dict[str, Profile] = {
    **dict.fromkeys(("dev", "devel", "development", "local", "laptop"), "dev"),
    **dict.fromkeys(("test", "tests", "testing", "ci"), "test"),
    **dict.fromkeys(("serverless", "lambda", "faas"), "serverless"),
    **dict.fromkeys(("prod", "production", "live", "staging"), "prod"),
}


def profile_of(path: Path) -> Profile:
    """Return the profile of a manifest: `api.dev.yaml` is `dev`, `lambda-eu.yaml` `serverless`."""
    words = re.findall(r"[a-z]+", path.stem.lower())
    found = {_WORDS[word] for word in words if word in _WORDS}
    return found.pop() if len(found) == 1 else "prod"
