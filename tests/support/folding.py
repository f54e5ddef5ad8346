"""What a learner makes of a small world: run in several processes, whose results must be the same bits."""

from ebb.settings import Settings
from online_ml.learning import sample
from online_ml.learning.learner import Learner
from online_ml.scoring.inputs import design
from tests.support.examples import World

GENERATION = 60
"""Labels after which a slow candidate is relieved: so few that it happens in this world."""


def fold() -> list[str]:
    """Return the learner's digest, then what each slow candidate of each target says, as bytes."""
    usual, sample.GENERATION = sample.GENERATION, GENERATION
    try:
        world = World(partitions=1, days=9, rows=60)
        learner = Learner(Settings(partitions=1, horizon_days=3, purchase_horizon_days=2, tree_labels=25))
        for offset, block in enumerate(world.partition(0)):
            learner.add(block, offset)
        while learner.advance():
            pass
    finally:
        sample.GENERATION = usual
    inputs = design(world.features(0, 0))
    slow = [candidate for one in learner.targets.values() for candidate in one.sample.candidates]
    return [learner.digest(), *(candidate.logits(inputs).tobytes().hex() for candidate in slow)]
