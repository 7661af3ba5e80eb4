"""The one table of error codes: code → what it means and what to do about it.

Codes are stable: scripts and editors key on them. In: nothing. Out: `CODES`, in the order of the
stages that find them. A test keeps the table and the sources the same, and
`assembler describe codes` prints it.
"""

from types import MappingProxyType

CODES = MappingProxyType(
    {
        # of the text:
        "not-utf8": "the file is not UTF-8; save it as UTF-8",
        "bad-character": "a control character or Unicode line separator; write it as an escape in double quotes",
        "too-large": "the file is over 1 MiB, or an OpenAPI document over 16; split a manifest with `extends`",
        "yaml-syntax": "the text is not YAML",
        "json-syntax": "an OpenAPI document that is not JSON",
        "multiple-documents": "one file holds one manifest; remove the `---` between them",
        "duplicate-key": "a key stands twice in one mapping; the second would hide the first",
        "non-string-key": "a key reads as a number, a boolean, null or a collection; quote it",
        "merge-key": "`<<` is not YAML 1.2; use `extends`, or repeat the keys",
        "tag": "a YAML tag (`!x`); values have only the types that their text shows",
        "unknown-anchor": "an alias names an anchor that no text before it sets",
        "too-deep": "nesting over 100 levels",
        "too-many-aliases": "more than 100 aliases",
        "too-many-nodes": "more than 100 000 values after aliases are expanded, or 100 mounted manifests, in an OpenAPI document 500 000",
        "number-out-of-range": "a number that a program could not hold; quote it if it is text",
        # of the shape:
        "extends-not-found": "the manifest that `extends` or a mount names cannot be read",
        "outside-project": "`extends`, `manifest` or `file` leads outside the git work tree, or the folder of pyproject.toml",
        "extends-cycle": "a manifest extends or mounts itself, directly or through others",
        "unknown-id": "`$before`, `$after`, `$remove` or an override names no entry",
        "duplicate-id": "two entries of a section have the same id; give one an `id` of its own",
        "misplaced-directive": "`$remove`, `$replace`, `$before` or `$after` where no entry is",
        "outermost-only": "a section of the whole process in a manifest that another one mounts",
        "unknown-key": "the format has no such key here",
        "missing-key": "a key that the format requires is not there",
        "bad-value": "a value has the wrong type, or is outside its range",
        # of references:
        "bad-reference": "a `${…}` that cannot be read",
        "misplaced-reference": "a `${…}` in a key, or in a value that is read before references are",
        "missing-variable": "an environment variable that is not set",
        "unknown-setting": "the settings class has no such field",
        "bad-settings": "the settings class could not be built",
        "needs-a-request": "a dependency that only a request can give, in code that runs without one",
        "unknown-resource": "no resource of that id",
        "resource-order": "a resource may only name resources above it",
        # of imports:
        "import-not-allowed": "the path, or what it names, is outside the import list",
        "module-not-found": "no such module can be imported",
        "import-failed": "the module was found, and failed while it was imported, or its source is no Python",
        "attribute-not-found": "the module has no such name",
        "not-callable": "the path names something that cannot be called here",
        "not-an-exception": "`catch` names something that is not an exception class",
        # of options:
        "unknown-option": "the callable has no such parameter",
        "missing-option": "a required parameter is not given",
        "scheduler-without-store": "several processes, or a queue, and no `store`; give the scheduler one",
        "single-process": "a resource that each process has for itself, and several workers",
        "more-faults": "a stage found more than 200 faults; repair those that are told",
        "static-unknown": "the source alone does not tell; check without `--static`",
        "short-secret": "a secret that may be guessed; use 16 random characters or more",
        "path-hidden": "a path that a mount above it answers, or a documentation page that a layer's policy keeps blank",
        "left-behind": "the router of an application brings neither its layers nor its handlers nor its state",
        "stop-too-long": "the times of the stop exceed what the platform waits before it kills",
        # of startup SQL:
        "sql-not-found": "the file that a statement names cannot be read",
        "sql-refused": "a text that is not exactly one statement, or that controls its transaction",
        "sql-unparsed": "a statement that the parser of its dialect does not know",
        "sql-not-repeatable": "a statement that fails or does more when it is run again",
        "sql-dangerous": "a statement that locks a table for long, destroys data or stops what still runs",
        # of building and starting:
        "build-failed": "a constructor, factory, or function of `configure` or `finish` raised",
        "startup-failed": "a step of the start raised",
        "unmet-expectation": "a request did not give what `expect` says",
        "startup-timeout": "a step of the start took longer than its `timeout`",
        "not-exported": "what Kubernetes has nothing for, or would have to read a variable to know",
    }
)
