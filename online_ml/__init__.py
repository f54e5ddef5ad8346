"""From labelled examples to models: candidates that learn online, their honest evaluation, and scoring.

The scoring side (`scoring`, `reasons`, `transforms`, `linear`, `cold_start`, `card`) is what workers and the API
import; it needs numpy alone. The learning side (`learner` and what it stands on) is a deterministic fold over
`ebb.examples`; `app` runs it as a Faust app: `python -m online_ml`.
"""
