"""Jobs on a fleet of workers: a tick is claimed by our clock and queued, and any worker runs it.

In reading order: `schema` (Procrastinate's tables), `store` (claims that are queued in the
transaction that makes them, and when a run is tried again), `connector` (Procrastinate over an
engine), `worker`. Of Procrastinate, `schema` reads its SQL; only `connector` and `worker` import
it. Its own periodic tasks, retries and records of runs are not used: the row of a run is the one
truth, whoever runs it.
"""
