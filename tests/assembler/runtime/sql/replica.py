"""Replicas: processes that start the application of a manifest and print their steps as JSON.

`python -m tests.assembler.runtime.sql.replica MANIFEST COUNT` imports what all of them need, once, and then
becomes that many processes, each with an application of its own. Each waits for a character of the
input before it starts, so that all of them can start in one moment.
"""

import asyncio
import json
import os
import sys
import time

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from assembler.runtime.recorder import StepRecorder


async def main(path: str) -> None:
    """Start, print, stop."""
    app = build(load(path))
    protocol = app.router.lifespan
    lifespan = protocol.lifespan  # type: ignore[attr-defined]  # what `build` puts there
    lifespan.recorder = StepRecorder(lifespan.plan, lifespan.assembly, is_told=False)
    os.write(1, b"ready\n")
    await asyncio.to_thread(os.read, 0, 1)
    began = time.perf_counter()
    error = None
    try:
        await lifespan.start()
    except ManifestError as failure:
        error = str(failure)
    seconds = time.perf_counter() - began
    steps = app.state.assembly.as_dict()["steps"]
    answer = json.dumps({"seconds": seconds, "steps": steps, "error": error})
    os.write(1, answer.encode() + b"\n")  # one line, of one call: the others write beside it
    await lifespan.stop()


if __name__ == "__main__":
    load(sys.argv[1])
    for _ in range(int(sys.argv[2]) - 1):
        if not os.fork():
            break
    asyncio.run(main(sys.argv[1]))
