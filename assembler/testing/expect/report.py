"""Results of expectations → text, JSON for programs, or JUnit's XML for build servers.

In: the name of the manifest and the results. Out: one text; every string is made
inert first.
"""

import json
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from assembler.diagnostics.render import render
from assembler.diagnostics.span import one_line, printable
from assembler.testing.expect.run import Result


def as_text(results: Sequence[Result], *, color: bool = False) -> str:
    """Return a line for each request, its faults below, and a count."""
    lines = []
    for result in results:
        mark = "failed" if result.faults else "ok"
        took = f"{result.milliseconds:g} ms"
        lines.append(f"{mark:6}  {one_line(result.request)}  {result.status or '-'}  {took}")
        lines += [f"\n{render(fault, color=color)}\n" for fault in result.faults]
    met = sum(not result.faults for result in results)
    return "\n".join([*lines, f"\n{met} of {len(results)} expectations met"])


def as_json(manifest: str, results: Sequence[Result]) -> str:
    """Return the mapping that programs read."""
    rows = [
        {
            "request": printable(result.request),
            "file": printable(result.span.file.name),
            "line": result.span.line,
            "met": not result.faults,
            "status": result.status,
            "route": result.route and printable(result.route),
            "passes": [printable(name) for name in result.passes],
            "milliseconds": result.milliseconds,
            "diagnostics": [fault.as_dict() for fault in result.faults],
        }
        for result in results
    ]
    return json.dumps({"format": 1, "manifest": printable(manifest), "results": rows}, indent=2)


def as_junit(manifest: str, results: Sequence[Result]) -> str:
    """Return one suite, a case for each request."""
    failed = sum(bool(result.faults) for result in results)
    seconds = sum(result.milliseconds for result in results) / 1000
    counts = {"tests": str(len(results)), "failures": str(failed), "time": f"{seconds:.3f}"}
    suite = Element("testsuite", {"name": one_line(manifest), **counts})
    for result in results:
        case = SubElement(
            suite,
            "testcase",
            classname=one_line(manifest),
            name=f"{one_line(result.request)} (line {result.span.line})",
            file=one_line(result.span.file.name),
            line=str(result.span.line),
            time=f"{result.milliseconds / 1000:.3f}",
        )
        if result.faults:
            failure = SubElement(case, "failure", message=printable(result.faults[0].message))
            failure.text = "\n\n".join(render(fault) for fault in result.faults)
    indent(suite)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + tostring(suite, encoding="unicode")
