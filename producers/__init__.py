"""Where activity comes from: the simulator, the replay of recorded logs, and generated load.

`producing` is the one door to Kafka. `simulator` runs `simulation`, which steps a `population` through `behaviour`,
`hazard` and `shifts` a day at a time and writes its `truth` apart; `oracle` reads that truth. `replay` sends what
`sources` reads from a file by the mapping of `presets`. `load` offers random events at a rate, for the benchmarks.
"""
