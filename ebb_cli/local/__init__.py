"""The embedded runtime: Kafka, ClickHouse and Ebb's own parts as supervised processes of one machine.

`services` starts Kafka and ClickHouse, `Supervisor` keeps a set of `ManagedProcess`es running, `ebb up` uses both.
"""
