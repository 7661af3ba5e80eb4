"""One replica: a process that starts the application of a manifest and prints its steps as JSON.

`python -m tests.assembler.sql.replica MANIFEST` waits for a line on its input before it starts, so
that many can start in one moment.
"""

import asyncio
import json
import sys
import time

from assembler.application import build
from assembler.errors import ManifestError
from assembler.plan import load
from assembler.recorder import Recorder


async def main(path: str) -> None:
    """Start, print, stop."""
    app = build(load(path))
    protocol = app.router.lifespan
    lifespan = protocol.lifespan  # type: ignore[attr-defined]  # what `build` puts there
    lifespan.recorder = Recorder(lifespan.plan, lifespan.assembly, is_told=False)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.perf_counter()
    error = None
    try:
        await lifespan.start()
    except ManifestError as failure:
        error = str(failure)
    seconds = time.perf_counter() - began
    steps = app.state.assembly.as_dict()["steps"]
    print(json.dumps({"seconds": seconds, "steps": steps, "error": error}), flush=True)
    await lifespan.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
