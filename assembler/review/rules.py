"""The one table of what a comparison may find: rule → what it means.

Rules are stable: scripts and code hosts key on them. In: nothing. Out: `RULES`. A test keeps the
table and the sources the same.
"""

from types import MappingProxyType

RULES = MappingProxyType(
    {
        # of whole manifests:
        "manifest-added": "a manifest is new",
        "manifest-removed": "a manifest is gone",
        "manifest-renamed": "a manifest has another name",
        "same-meaning": "the text differs and the resolved manifest is the same",
        # of entries:
        "entry-added": "an entry is new",
        "entry-removed": "an entry is gone",
        "entry-renamed": "an entry has another id",
        "entry-replaced": "an entry names other code",
        "unknown-code": "what an entry names cannot be found in the source",
        "order": "entries stand in another order",
        "protection-added": "a layer that protects is new",
        "protection-removed": "a layer that protects is gone",
        "order-weakens": "a layer stands where it protects less",
        "order-strengthens": "a layer stands where it protects more",
        # of options:
        "option-loosened": "an option moved in the direction that its signature calls looser",
        "option-tightened": "an option moved away from what its signature calls looser",
        "option-changed": "an option differs and no direction is known",
        "option-reordered": "a list whose order has no meaning was sorted otherwise",
        "reference-changed": "a value comes from another reference",
        "secret-changed": "a value that may be a secret differs",
        # of sections:
        "section-changed": "a value of a section differs",
        "documentation-exposed": "the description of the API is served where it was not",
        "documentation-hidden": "the description of the API is no longer served",
        "failure-tolerated": "a failure that ended the start no longer does",
        "failure-fatal": "a failure ends the start that did not",
        "dependency-added": "a dependency runs before the routes of an entry",
        "dependency-removed": "a dependency no longer runs before the routes of an entry",
        "schedule-changed": "a job runs at other times",
        "sql-changed": "SQL that runs at the start differs",
        "suppression-added": "a rule of the audit is silenced",
        "suppression-removed": "a rule of the audit is no longer silenced",
        "expectation-changed": "what requests must give differs",
    }
)
