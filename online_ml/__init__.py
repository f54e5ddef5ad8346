"""From labels to models: the learner's process, its checkpoint, the registry, the model card.

`scoring` and `model_card` are what workers and the API import. `learning` is a deterministic fold over `ebb.examples`;
`app` runs it as a Faust app: `python -m online_ml`.
"""
