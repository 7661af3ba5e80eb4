"""Jobs of a plan → runs: each tick once, on any number of processes.

In reading order: `run` (what a run is), `claims` (what a store promises), `memory`, `sql_tables`,
`sql_store`, `redis_scripts`, `redis_store`, `stores` (a resource → its store), `namespaced_store` (the
part of one service), `context` (what a job is given), `job`, `counters`, `store_client` (a store that may
be away), `execution` (one run), `reaper` (what is left over), `engine`, `clock` (the only one that
imports APScheduler), `single_process`, `fleet` (a queue and its workers), `build` (a plan's jobs → the
engine), `last_runs` (for those who only look).
"""
