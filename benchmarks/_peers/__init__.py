"""The same features and score in four other stream frameworks, for `benchmarks.peers`.

What is computed, by everyone
-----------------------------
Each record of the activity topic is validated (required fields, text ids, a time with a zone, a numeric amount); a bad
one is counted and passed over. An event whose id was seen before is dropped (a bounded window of ids). Every other
event updates its customer: exact 1, 7 and 30-day windows, by day buckets, of events, sessions, views, additions to the
cart, purchases and support contacts; spend in minor units; first and newest moment, last purchase, active days, and the
event rate that halves every 14 days. Of each customer touched the features and a logistic score are computed, by
`definition.WEIGHTS`, as part of the stream. State survives a crash by the framework's own means.

The definition is `definition`, in plain Python that all four share, so they differ in plumbing alone.

What Ebb does besides
---------------------
Its worker runs whole: 47 features for the two dozen here, its own model's score with bands and reasons, dead letters,
lateness, labels, scores and alerts produced to Kafka, events, features and scores inserted into ClickHouse.
A peer has no sink: it keeps the last result of each customer and writes it to a file when its clock has stopped.
"""
