"""Jobs of a plan → runs: each tick once, on any number of processes.

The rooms, in reading order: `run` (what a run is), `claims` (what a store promises), `memory`,
`sql_tables`, `sql_store`, `redis_scripts`, `redis_store`, `stores` (a resource → its store), `named` (the part of one service),
`context` (what a job is given), `threads`, `job`, `tally`, `link`,
`voice`, `one_run`, `keeper`, `outside`, `engine`, `clock` (the only one that imports APScheduler), `siblings`,
`fleet` (a queue and its workers), `declared` (a plan's jobs → the engine), `last_runs` (for those who only look).
"""
