"""A difference → the rule that says that it is meant, if there is one.

In: differences as `comparison` found them. Out: the name of the rule that covers one. A rule is about
what an assembled application does better on purpose; it covers exactly that, judged by both sides, and
passes nothing unless it is accepted by name.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assembler.adopt.equality.comparison import Difference
from assembler.adopt.equality.probes import BARE_MOUNT


@dataclass(frozen=True, slots=True)
class IntendedDifference:
    """A rule: what it is about, in one sentence, and how a difference that it covers is known."""

    name: str
    meaning: str
    covers: Callable[[Difference], bool]


def rule_of(difference: Difference) -> IntendedDifference | None:
    """Return the rule that covers a difference."""
    return next((rule for rule in RULES.values() if rule.covers(difference)), None)


def _sides(difference: Difference) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
    detail = difference.detail
    return detail["probe"], detail["left"], detail["right"]


def _is_request(difference: Difference) -> bool:
    return difference.part == "requests"


def _error_answers(difference: Difference) -> bool:
    """The answer to what nobody has handled: same status and body, and more headers.

    What ends a server, such as `SystemExit`, had no answer at all.
    """
    if not _is_request(difference):
        return False
    _, left, right = _sides(difference)
    if left["status"] is None and left["raises"] is not None and right["status"] == 500:
        return bool(difference.detail["what"] != "raises")
    if left["status"] != 500 or right["status"] != 500 or left["raises"] is None:
        return False
    if left.get("kinds") != right.get("kinds") or left.get("body") != right.get("body"):
        return False
    more = Counter(map(tuple, right["headers"]))
    more.subtract(Counter(map(tuple, left["headers"])))
    changed = {name for (name, _), count in more.items() if count < 0} - _OF_CACHES
    if any(name == "content-encoding" for name, _ in right["headers"]):
        changed.discard("content-length")  # a layer has packed the body, which is the same
    return not changed and difference.detail["what"].startswith("header ")


_OF_CACHES = {"cache-control", "cdn-cache-control", "surrogate-control", "expires"}


def _layer_exceptions(difference: Difference) -> bool:
    """What a layer raises and a handler is for: a 500 before, and now what the handler answers."""
    if not _is_request(difference):
        return False
    _, left, right = _sides(difference)
    handled = {*difference.detail["handlers"], "starlette.exceptions.HTTPException"} - {"Exception"}
    is_meant = not handled.isdisjoint([*left.get("kinds", ()), *left.get("behind", ())])
    if str(right["raises"]).startswith(_BEGUN):  # which the handler comes too late for
        return is_meant and bool(left["status"] == right["status"])
    return left["status"] == 500 and is_meant and right["raises"] is None


_BEGUN = "RuntimeError: Caught handled exception, but response already started."  # Starlette's


def _status_500(difference: Difference) -> bool:
    """An `HTTPException` of 500: plain before, and now answered by the handler for that status."""
    if not _is_request(difference):
        return False
    _, left, right = _sides(difference)
    is_handled = "500" in difference.detail["handlers"]
    is_quiet = left["raises"] is None and right["raises"] is None
    return is_handled and is_quiet and left["status"] == right["status"] == 500


def _mount_root_path(difference: Difference) -> bool:
    """What is mounted below a root path that a proxy strips: not found before, and now there."""
    if not _is_request(difference):
        return False
    _, left, _ = _sides(difference)
    return bool(difference.detail["is_below_root_path"]) and left["status"] == 404


def _mount_slash(difference: Difference) -> bool:
    """The bare path of a mount: answered by others before, and now by what is mounted."""
    return _is_request(difference) and _sides(difference)[0]["label"].startswith(BARE_MOUNT)


def _control_characters(difference: Difference) -> bool:
    """A path with a control character: served as another path before, and now refused."""
    if not _is_request(difference):
        return False
    probe, _, right = _sides(difference)
    return "control character" in probe["label"] and right["status"] == 400


def _mounted_manifests(difference: Difference) -> bool:
    """A handler of FastAPI's own that a mounted manifest leaves to the application around it."""
    return difference.part == "handlers" and bool(difference.detail.get("around"))


def _mounted_lifespans(difference: Difference) -> bool:
    """What the lifespan of a mounted application does, which did not run before."""
    return difference.part == "lifespan" and bool(difference.detail.get("mounted"))


def _manifest_jobs(difference: Difference) -> bool:
    """The clock of an APScheduler, whose jobs the manifest has."""
    return difference.part == "lifespan" and bool(difference.detail.get("clock"))


def _made_once(difference: Difference) -> bool:
    """What each start made before, and is made once now, when the application is built."""
    return difference.part == "lifespan" and bool(difference.detail.get("built"))


def _layer_order(difference: Difference) -> bool:
    return difference.part == "layers" and "order" in difference.detail


def _openapi_extended(difference: Difference) -> bool:
    """What the document says of layers, besides FastAPI's own, which is compared by itself."""
    if not _is_request(difference):
        return bool(difference.detail.get("extended"))
    probe, left, right = _sides(difference)
    is_document = difference.detail["extended"] and "force" not in probe
    return is_document and left["status"] == right["status"] == 200


RULES: Mapping[str, IntendedDifference] = {
    rule.name: rule
    for rule in (
        IntendedDifference(
            "error-answers",
            "the answer to an exception that nobody handles passes the layers, and has their headers",
            _error_answers,
        ),
        IntendedDifference(
            "layer-exceptions",
            "what a layer raises is answered by the handler that is meant for it",
            _layer_exceptions,
        ),
        IntendedDifference(
            "mount-slash",
            "the bare path of a mount is answered by what is mounted, without a redirect",
            _mount_slash,
        ),
        IntendedDifference(
            "mount-root-path",
            "below a root path that a proxy strips, what is mounted finds its own paths",
            _mount_root_path,
        ),
        IntendedDifference(
            "status-500",
            "an `HTTPException` of 500 is answered by the handler for that status",
            _status_500,
        ),
        IntendedDifference(
            "control-characters",
            "a path with a control character is refused with 400",
            _control_characters,
        ),
        IntendedDifference(
            "mounted-manifests",
            "what a mounted manifest has no handler for goes to those of the application around it",
            _mounted_manifests,
        ),
        IntendedDifference(
            "mounted-lifespans",
            "the lifespan of a mounted application runs, and gives its state to the requests below",
            _mounted_lifespans,
        ),
        IntendedDifference(
            "manifest-jobs",
            "the scheduler of the application stands still, for its jobs are those of the manifest",
            _manifest_jobs,
        ),
        IntendedDifference(
            "made-once",
            "what each start made is made once, when the application is built",
            _made_once,
        ),
        IntendedDifference(
            "openapi-extended",
            "the OpenAPI document tells what layers, handlers and dependencies do",
            _openapi_extended,
        ),
        IntendedDifference(
            "layer-order",
            "the layers stand in the order of the manifest; all else is compared in that order",
            _layer_order,
        ),
    )
}
