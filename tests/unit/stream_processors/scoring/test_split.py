"""A split assigns its share of customers, permanently and independently of everything but their id."""

import zlib
from typing import Literal

import numpy as np
import pytest

from ebb.contracts.features import SCHEMA_HASH
from ebb.contracts.models import FROZEN, ModelSnapshot, Target
from ebb.settings import Settings
from online_ml.candidates import candidates
from online_ml.scoring.cold_start import cold_start
from serving.projections.models import ModelView
from stream_processors.native.hashing import hash_ids
from stream_processors.scoring.champions import ModelFollower
from stream_processors.scoring.split import Assignment, Split

SETTINGS = Settings()
IDS = [f"c{number:07d}" for number in range(20_000)]


def split(share: float, target: Target = "churn") -> Split:
    return Split(cold_start(target, SETTINGS), share)


def model(candidate: str, role: Literal["champion", "challenger"], *, share: float = 0.0, version: int = 1) -> bytes:
    payload = candidates("churn")[0].payload((1.0, 0.0))
    return ModelSnapshot(
        name=f"churn.{candidate}", target="churn", candidate=candidate, version=version, role=role, share=share,
        schema_hash=SCHEMA_HASH, trained_until=1, examples=1, metrics={}, payload=payload,
    ).encode()  # fmt: skip


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_a_split_assigns_its_share_of_the_customers_whatever_their_partition(share: float) -> None:
    in_share = split(share).takes(hash_ids(IDS))
    error = (share * (1 - share) / len(IDS)) ** 0.5
    assert in_share.mean() == pytest.approx(share, abs=4 * error)
    partitions = np.array([zlib.crc32(name.encode()) % 8 for name in IDS])
    for partition in range(8):
        assert in_share[partitions == partition].mean() == pytest.approx(share, abs=4 * error * 8**0.5)


def test_assigned_customers_stay_assigned_as_the_share_grows_and_in_every_version_of_the_code() -> None:
    small, large = (split(share).takes(hash_ids(IDS)) for share in (0.1, 0.3))
    assert (large | ~small).all()
    assert [name for name, taken in zip(IDS[:30], small[:30].tolist(), strict=True) if taken] == [
        "c0000018",
        "c0000020",
        "c0000022",
        "c0000023",
    ]


def test_the_arms_of_two_targets_are_independent() -> None:
    churn, purchase = (split(0.5, target).takes(hash_ids(IDS)) for target in ("churn", "purchase"))
    assert (churn & purchase).mean() == pytest.approx(0.25, abs=0.015)


def test_a_worker_splits_while_the_challenger_has_a_share_and_no_longer() -> None:
    models = ModelFollower(SETTINGS)
    models.apply(model("adam", "challenger", share=0.2))
    models.apply(model("logistic", "champion"))
    assert (models.churn.name, models.splits["churn"].challenger.name) == ("churn.logistic", "churn.adam")
    models.apply(model("recency", "challenger"))  # a challenger without a share changes nothing
    assert models.splits["churn"].share == 0.2
    changes = models.changes
    models.apply(model("adam", "challenger", share=0.3, version=2))
    assert (models.splits["churn"].share, models.splits["churn"].challenger.version) == (0.3, 2)
    models.apply(model("adam", "challenger", version=3))
    assert models.splits == {}
    assert models.changes == changes + 2


def test_a_challenger_that_becomes_champion_scores_every_customer() -> None:
    models = ModelFollower(SETTINGS)
    models.apply(model("adam", "challenger", share=0.2))
    models.apply(model("adam", "champion", version=2))
    assert (models.churn.version, models.splits) == (2, {})
    assert Assignment.of(models, "churn", hash_ids(IDS)).names() is None


def test_a_worker_takes_no_model_that_is_older_than_the_one_in_use_unless_it_is_asked_for() -> None:
    models = ModelFollower(SETTINGS)

    def champion(version: int, day: int, name: str | None = None) -> bytes:
        made = ModelSnapshot.decode(model("logistic", "champion", version=version))
        return made.model_copy(update={"trained_until": day, "name": name or made.name}).sealed().encode()

    models.apply(champion(117, 20_117))
    models.apply(champion(7, 20_007))
    assert models.churn.version == 117
    models.apply(champion(90, 20_090, f"churn.{FROZEN}"))
    assert models.churn.version == 90
    models.apply(champion(118, 20_118))
    assert models.churn.version == 118
    models.apply(champion(117, 20_118))  # an earlier learner's, whose write was held up
    assert models.churn.version == 118


@pytest.mark.parametrize("config", [{"label": "silence", "horizon_days": 30}, {"label": "cancel", "horizon_days": 14}])
def test_a_model_of_another_label_does_not_score(config: dict[str, object]) -> None:
    models, view = ModelFollower(SETTINGS), ModelView(SETTINGS)

    def published(name: str, **changes: object) -> bytes:
        return ModelSnapshot.decode(model(name, "champion")).model_copy(update=changes).sealed().encode()

    for body in (published("adam", config=config), published("recency", config=config, share=0.5, role="challenger")):
        models.apply(body)
        view.apply(None, body)
    assert (models.churn.candidate, models.splits, view.scorer("churn")) == ("cold_start", {}, None)
    fitting = published("logistic", config={"label": "silence", "horizon_days": 14})
    models.apply(fitting)
    view.apply(None, fitting)
    assert models.churn.candidate == "logistic"
    assert view.scorer("churn") is not None
