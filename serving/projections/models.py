"""The models that the learner has published: the latest version of each name."""

from typing import Any

from ebb.clock import date_of
from ebb.contracts.models import PUBLISHED, ModelSnapshot, Target
from ebb.errors import CorruptError, SchemaMismatchError
from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED
from ebb.settings import LabelSettings
from online_ml.scoring.gate import ModelGate
from online_ml.scoring.scorer import Scorer

_log = get_logger(__name__)


class ModelView:
    """Latest snapshot by model name. One thread applies, any number read; what they get is a copy.

    Parameters
    ----------
    settings
        What the labels are: models of another label are listed and never score.
    """

    def __init__(self, settings: LabelSettings) -> None:
        self._gate = ModelGate(settings)
        self._models: dict[str, tuple[ModelSnapshot, bytes]] = {}
        self._scorers: dict[Target, Scorer] = {}

    def apply(self, key: bytes | None, body: bytes | None) -> None:
        """Apply a record of the models topic; one that fails its checks is logged and skipped."""
        if key == PUBLISHED.encode():
            return
        if body is None:
            self._models.pop((key or b"").decode(errors="replace"), None)
            return
        try:
            snapshot = ModelSnapshot.decode(body)
        except (CorruptError, SchemaMismatchError) as error:
            RECORDS_REFUSED.labels("models").inc()
            _log.warning("model refused", error=str(error))
            return
        # The payload can be megabytes, and is smaller encoded than unpacked.
        self._models[snapshot.name] = (snapshot.model_copy(update={"payload": {}}), body)
        if snapshot.role == "champion":
            try:
                self._scorers[snapshot.target] = self._gate.admit(snapshot)
            except SchemaMismatchError as error:  # a worker refuses it too, and keeps the one before
                _log.warning("model refused", error=str(error))

    def all(self) -> list[ModelSnapshot]:
        """Return the models, champions first, by target and name."""
        models = [snapshot for snapshot, _ in self._models.copy().values()]
        return sorted(models, key=lambda model: (model.target, model.role != "champion", model.name))

    def get(self, name: str) -> tuple[ModelSnapshot, bytes] | None:
        """Return the latest version of a model without its payload, and its encoded record."""
        return self._models.get(name)

    def scorer(self, target: Target) -> Scorer | None:
        """Return the model that workers score with: the latest champion admitted; None before the first."""
        return self._scorers.get(target)

    def champion(self, target: Target) -> ModelSnapshot | None:
        """Return the champion of a target; the one trained last if a change of champion is under way."""
        champions = [model for model in self.all() if model.target == target and model.role == "champion"]
        return max(champions, key=lambda model: (model.trained_until, model.version), default=None)


def model_view(snapshot: ModelSnapshot) -> dict[str, Any]:
    """Return the fields of the REST schema `Model`, day numbers turned into dates."""
    return {
        "name": snapshot.name,
        "target": snapshot.target,
        "candidate": snapshot.candidate,
        "version": snapshot.version,
        "role": snapshot.role,
        "share": snapshot.share,
        "trained_until": date_of(snapshot.trained_until),
        "examples": snapshot.examples,
        "metrics": snapshot.metrics,
        "schema_hash": snapshot.schema_hash,
    }
