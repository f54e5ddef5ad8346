"""The examples of the page on River run as they stand, one after the other, on an export of a few hundred labels."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebb.contracts.features import FEATURES, INDEX, WIDTH
from ebb.contracts.models import ModelSnapshot
from online_ml.candidates.logistic import Logistic
from online_ml.scoring.inputs import INPUTS, design
from online_ml.scoring.scorer import load
from tests.support.project import ROOT
from tests.support.sender import make_model


@pytest.fixture(scope="module")
def snapshot() -> ModelSnapshot:
    model = Logistic("logistic", [item.name for item in INPUTS])
    features = np.random.default_rng(1).gamma(1, 5, (400, WIDTH)).astype(np.float32)
    labels = (features[:, INDEX["recency_days"]] > 4).astype(np.uint8)
    model.learn_matrix(design(features).astype(np.float64), labels)
    return make_model(payload=model.payload((0.9, 0.1))).sealed()


@pytest.fixture
def ran(snapshot: ModelSnapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str, str]:
    """Run the page; return its names, what it printed, and what it says that it prints."""
    page = (ROOT / "docs" / "river.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    [written] = re.findall(r"`ebb models export churn\.logistic --output (\S+)`", page)
    Path(written).write_bytes(snapshot.encode())
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(example, "docs/river.md", "exec"), names)  # noqa: S102 - the page's own
    return names, printed.getvalue(), "".join(re.findall(r"```text\n(.*?)```", page, re.DOTALL))


def test_docs_river_examples_run_and_print_what_the_page_says(
    ran: tuple[dict[str, Any], str, str], snapshot: ModelSnapshot
) -> None:
    names, printed, said = ran
    assert printed == said
    features = np.zeros((1, WIDTH), np.float32)
    for name, value in names["customer"].items():
        features[0, INDEX[name]] = value
    assert names["chance"] == pytest.approx(load(snapshot).score(design(features).astype(np.float64))[0], abs=1e-9)
    assert set(names["customer"]) <= {feature.name for feature in FEATURES}
    learned = names["careful"].predict_proba_one(names["customer"])[True]
    assert 0 < abs(learned - names["chance"]) < 0.05
