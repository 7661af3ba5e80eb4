"""The sections that review reads: what the audit leaves out, and what requests must give.

In: plain data. Out: `Audit` and `Expectation`. Refuses a suppression without a reason or an end.
"""

from datetime import date
from typing import Annotated

from pydantic import Field

from assembler.manifest.section import Section


class Suppression(Section):
    """Silences one rule of `audit`."""

    rule: str = Field(description="The rule, as `audit` names it.")
    reason: str = Field(min_length=1, description="Why it does not hold here.")
    until: date = Field(description="The last day of it.", examples=["2027-01-31"])


class Audit(Section):
    """What the audit of this manifest does not report."""

    suppress: list[Suppression] = Field([], description="Rules that are silent for a while.")


class Expectation(Section):
    """What a request to the assembled app must give."""

    request: Annotated[
        str,
        Field(
            pattern=r"^[A-Z]+ /\S*$", description="Method and path.", examples=["GET /health/live"]
        ),
    ]
    headers: dict[str, str] = Field({}, description="Headers of the request.")
    status: int | None = Field(
        None, ge=100, le=599, description="Status of the answer.", examples=[200]
    )
    response_headers: dict[str, str | None] = Field(
        {}, description="Headers that the answer has; null for one that it has not."
    )
    route: str | None = Field(None, description="Id of the entry that answers.")
    passes: list[str] | None = Field(
        None,
        description="Ids of all middleware that hands the request on, outermost first; what answers early is none.",
    )
