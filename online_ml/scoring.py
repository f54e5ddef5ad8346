"""The scoring side: from a model snapshot to a scorer. Workers and the API import this and nothing that learns."""

from ebb.errors import SchemaMismatchError
from ebb.models import ModelSnapshot
from online_ml.cold_start import cold_start
from online_ml.linear import Scorer
from online_ml.transforms import GROUPS

__all__ = ["GROUPS", "JUDGED", "Scorer", "cold_start", "load"]

JUDGED = "judged"
"""Kind of the payload of a model that is judged beside the others and has no form in which it could score."""


def load(snapshot: ModelSnapshot) -> Scorer:
    """Return the scorer that a decoded (hence verified) snapshot describes; nothing in it is executed.

    Raises
    ------
    SchemaMismatchError
        If this code does not know the payload's kind, or the payload does not fit.
    """
    kind = snapshot.payload.get("kind")
    if kind == JUDGED:
        what = f"Model {snapshot.name} is judged beside the others and has no form in which it could score."
        raise SchemaMismatchError(what, "The model in use stays.")
    if kind != "linear":
        what = f"Model {snapshot.name} version {snapshot.version} is of kind {kind!r}; this code scores kind 'linear'."
        raise SchemaMismatchError(what, "The model in use stays; upgrade this process to use the new one.")
    return Scorer.from_payload(
        snapshot.payload,
        name=snapshot.name,
        candidate=snapshot.candidate,
        target=snapshot.target,
        version=snapshot.version,
    )
