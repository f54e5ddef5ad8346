"""The same features and score in four other stream frameworks, for `benchmarks.peers`.

What is computed, by everyone ----------------------------- Each record of the activity topic is validated (required
fields, text ids, a time with a zone, a numeric amount); a bad one is counted and passed over. An event whose id was
seen before is dropped (a bounded window of ids). Every other event updates its customer. Of each customer touched all
47 features of `ebb.contracts.features` and the score that Ebb gives before a label has matured are computed as part of
the stream, and delivered to a Kafka topic as JSON. State survives a crash by the framework's own means.

The definition is `definition`, in plain Python that all four share, so they differ in plumbing alone.

What Ebb does besides
---------------------
Its worker runs whole: a second score, bands, trends and reasons, dead letters, lateness, labels, alerts, events,
features and scores inserted into ClickHouse, scores to Kafka, checkpoints. A peer's results go to one topic.
"""
