"""Topics: what no single section, option or code says, told at the prompt by `assembler describe`.

In: the name of a topic. Out: its text, from the file of that name beside this module. Two of them end in a
table that is made where it is printed: `codes` and `differences`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Topic:
    """What a text is about, and the sections of the format whose pages lead to it."""

    summary: str
    sections: tuple[str, ...] = ()


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        "options": Topic("`use` and `with`: what may be named, and what its options may be"),
        "references": Topic("`${…}`: variables, settings and resources in values", ("settings",)),
        "overlays": Topic("`extends`: what environments share, and how they differ"),
        "imports": Topic("the list of what a manifest may import, and what is read of source"),
        "route-layers": Topic("layers and handlers of one route, and its host", ("routes",)),
        "nested-manifests": Topic("an application in the application, one process", ("routes",)),
        "exceptions": Topic("where an exception travels, and its answer", ("exception_handlers",)),
        "own-components": Topic(
            "a middleware of your own, and what it says of itself",
            ("resources", "middleware"),
        ),
        "own-resources": Topic(
            "what a resource is, and how routes, jobs and tools ask for it", ("resources",)
        ),
        "adopting": Topic(
            "an existing application becomes a manifest, and is proven equal",
            ("lifespan", "configure", "finish"),
        ),
        "differences": Topic("what `assembler equal --accept` may let pass"),
        "degraded": Topic("a service that starts without a resource", ("resources",)),
        "startup-sql": Topic("SQL that is applied once over all replicas", ("startup",)),
        "jobs": Topic("clocks, claims, workers, and loops", ("scheduler", "background")),
        "reloading": Topic("an edited manifest goes live, or all stays as it is", ("server",)),
        "drift": Topic("whether what runs is what the manifest says"),
        "deploying": Topic("servers, containers, Kubernetes and Lambda", ("server",)),
        "reviewing": Topic("changes, audits and OpenAPI documents in CI", ("audit",)),
        "testing": Topic("`expect`, and applications in your own tests", ("expect",)),
        "editors": Topic("completion in editors and in the shell"),
        "codes": Topic("all error codes"),
    }
)


def text_of(name: str) -> str:
    """Return the text of a topic, in lines of at most 98 columns."""
    from pathlib import Path  # noqa: PLC0415  # a shell that completes asks for the names alone

    return Path(__file__).with_name(f"{name}.md").read_text("utf-8").rstrip("\n")


def topics_of(section: str) -> Iterator[str]:
    """Yield the topics to which the page of a section leads."""
    return (name for name, topic in TOPICS.items() if section in topic.sections)
