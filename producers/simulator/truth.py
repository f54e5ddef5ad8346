"""The ground truth of the simulator: files under `home/truth`, one a day, that only the oracle reads."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ebb.errors import SourceError
from ebb.settings import PlaceSettings
from producers.simulator.world import Truth

DAYS_KEPT = 400
"""Older files are removed: a demo that runs for days must not fill the disk (some 200 KB a day)."""
SCHEMA = pa.schema(
    [
        ("day", pa.int32()),
        ("customer_id", pa.utf8()),
        ("present", pa.bool_()),
        ("hazard", pa.float64()),
        ("leaving", pa.float64()),
        ("silence", pa.float64()),
        ("silence_clairvoyant", pa.float64()),
        ("last_seen", pa.int32()),
    ]
)
"""Columns as in `world.Truth`."""


def truth_folder(settings: PlaceSettings) -> Path:
    """Return the folder of this namespace's truth."""
    return settings.home / "truth" / settings.namespace


def write_truth(folder: Path, truth: Truth, *, horizon: int, lookback: int) -> Path:
    """Write a day's truth; an existing file is replaced by an equal one."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(truth.number)
    metadata = {"horizon_days": str(horizon), "lookback_days": str(lookback)}
    table = pa.table(
        [
            pa.array([truth.day] * count, pa.int32()),
            pa.array([f"c{number:07d}" for number in truth.number.tolist()], pa.utf8()),
            pa.array(truth.present.astype(bool)),
            pa.array(truth.hazard),
            pa.array(truth.leaving),
            pa.array(truth.silence),
            pa.array(truth.silence_clairvoyant),
            pa.array(truth.last_seen, pa.int32()),
        ],
        schema=SCHEMA.with_metadata(metadata),
    )
    path = folder / f"{truth.day}.parquet"
    draft = path.with_suffix(".draft")
    pq.write_table(table, draft, compression="zstd")
    os.replace(draft, path)  # a reader sees the whole file or none
    (folder / f"{truth.day - DAYS_KEPT}.parquet").unlink(missing_ok=True)
    return path


def read_truth(folder: Path) -> tuple[pa.Table, int, int]:
    """Read all days.

    Returns
    -------
    pyarrow.Table
        With the columns of `SCHEMA`, in order of days.
    horizon, lookback : int
        Days that the probabilities look ahead, and the population looks back.

    Raises
    ------
    SourceError
        If there is no truth, or days of different horizons.
    """
    files = sorted((path for path in folder.glob("*.parquet")), key=lambda path: int(path.stem))
    if not files:
        what = f"There is no ground truth in {folder}."
        raise SourceError(what, "Run the simulator first (`ebb up`, or `ebb simulate`).")
    tables = [pq.read_table(path) for path in files]
    if len({(t.schema.metadata[b"horizon_days"], t.schema.metadata[b"lookback_days"]) for t in tables}) > 1:
        what = f"The ground truth in {folder} was written for different horizons or look-backs."
        raise SourceError(what, "Start again with `ebb reset`, or keep EBB_HORIZON_DAYS and EBB_LOOKBACK_DAYS.")
    metadata = tables[0].schema.metadata
    return pa.concat_tables(tables), int(metadata[b"horizon_days"]), int(metadata[b"lookback_days"])
