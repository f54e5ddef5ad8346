"""The same features and score in four other stream frameworks, for `benchmarks.peers`.

What all of them compute
------------------------
Each record of the activity topic is validated (required
fields, text ids, a time with a zone, a numeric amount); an invalid one is counted and skipped. An event whose id
was seen before is dropped (a bounded window of ids). Every other event updates its customer. For each updated customer
all 47 features of `ebb.contracts.features` and the score that Ebb gives before a label has matured are computed within
the stream, and sent to a Kafka topic as JSON. State survives a crash by the framework's own mechanism.

The computation is `definition`, plain Python that all four share, so they differ in the framework alone.

What Ebb does besides
---------------------
Its whole worker runs: a second score, bands, trends and reasons, dead letters, lateness, labels, alerts, events,
features and scores inserted into ClickHouse, scores to Kafka, checkpoints. A peer's results go to one topic.
"""
