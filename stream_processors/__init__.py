"""Activity → customer state → features → scores, snapshots and labels (Faust).

`app` joins the parts; `transport` hands over whole polls; `decode` validates; `engine` and `state` hold a partition's
customers; `features` describes them; `boundaries` writes snapshots and labels; `scoreboard` turns probabilities into
bands and alerts; `checkpoint` makes state durable; `sink` carries rows to ClickHouse.
"""
