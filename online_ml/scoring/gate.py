"""Which of the published models may score here: workers and the API ask the same rule."""

from ebb.contracts.models import FROZEN, ModelSnapshot, Target
from ebb.errors import SchemaMismatchError
from ebb.settings import LabelSettings
from online_ml.scoring.scorer import Scorer, load


class ModelGate:
    """Turns the models of the topic, in their order, into scorers, or says why one cannot be used.

    Parameters
    ----------
    settings
        What the labels are: a model of another label answers another question.
    """

    def __init__(self, settings: LabelSettings) -> None:
        self._definitions = settings.label_definitions
        self._reached: dict[Target, tuple[int, int]] = {}
        """By target, of the last champion admitted: the day until which it was trained, and its version."""

    def admit(self, snapshot: ModelSnapshot) -> Scorer:
        """Return the scorer of a champion, or of a challenger with a share of the customers.

        Raises
        ------
        SchemaMismatchError
            If the model predicts another label than the settings say, cannot score (see `load`), or is a champion that
            was trained until an earlier day than the one before it, or has a lower version. A frozen version is asked
            for and may be older; any other is a learner's that has begun again and knows little yet.
        """
        wanted = self._definitions[snapshot.target]
        if snapshot.definition not in {None, wanted}:
            what = f"Model {snapshot.name} version {snapshot.version} predicts {snapshot.definition}, not {wanted}."
            hint = "The model in use stays until the learner has learned the label that the settings name."
            raise SchemaMismatchError(what, hint)
        scorer = load(snapshot)
        if snapshot.share:
            return scorer
        is_frozen = snapshot.name == f"{snapshot.target}.{FROZEN}"
        reached = snapshot.trained_until, snapshot.version
        if not is_frozen and reached < self._reached.get(snapshot.target, (0, 0)):
            what = f"Model {snapshot.name} version {snapshot.version} is older than the one in use."
            hint = "The model in use stays until a newer one comes; `ebb models rollback` asks for an older one."
            raise SchemaMismatchError(what, hint)
        self._reached[snapshot.target] = reached
        return scorer
