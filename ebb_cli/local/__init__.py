"""The embedded runtime: Kafka, ClickHouse and Ebb's own parts as supervised processes of one machine.

`services` starts what Ebb stands on, `Supervisor` keeps any set of `Part`s alive, `ebb up` puts both together.
"""
