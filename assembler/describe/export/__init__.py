"""A plan → what another system runs it by.

The rooms, in reading order: `yaml_text` (data as YAML that every reader reads alike), `names`
(what an object may be called), `job_clock` (a job's clock as Kubernetes has it), `bundle` (the
files that a manifest needs), `pods` (what the containers of all kinds share), `service`,
`cron_job`, `kubernetes` (all of the objects, and what the cluster cannot do).
"""
