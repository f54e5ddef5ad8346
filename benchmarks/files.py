"""Reading of a large CSV file as activity events, beside bare readers of the same file.

A CSV of 100 MB (time, customer, type, item, quantity, amount, country, a note with quoted line breaks now and then) is
read as `ebb replay` reads it: delimiter and encoding found, values checked, sorted by time, each row made an event with
an id of its content. Each reader runs in a process of its own; memory is the greatest resident size of that process
above what it held once its modules were imported. Beside it: pandas and pyarrow, which read the text of all columns and
do nothing with it. Processor time is told beside the clock's: it means something on a busy machine too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psutil

MEGABYTES = 100
MAPPING = [
    "customer_id=customer", "occurred_at=time", "type=event", "product_id=item", "quantity=quantity", "amount=amount",
    "country=country", "note=note",
]  # fmt: skip
READERS = ("ebb", "pandas", "pyarrow")
COUNTRIES = ("United Kingdom", "Deutschland", "France", "Österreich", "España")


def main() -> None:
    """Write the file, run the readers, print their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES)
    parser.add_argument("--read", nargs=2, metavar=("READER", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(read(arguments.read[0], Path(arguments.read[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        rows = write(path, arguments.megabytes * 1_000_000)
        size = path.stat().st_size / 1e6
        print(f"{size:.0f} MB, {rows:,} rows; the best of two runs each")
        figures = {name: min((_run(name, path) for _ in range(2)), key=lambda run: run["seconds"]) for name in READERS}
    print(f"{'':10}{'seconds':>9}{'processor':>11}{'MB/s':>7}{'rows/min':>13}{'memory, MiB':>13}")
    for name, run in figures.items():
        rate = rows / run["seconds"] * 60
        print(
            f"{name:10}{run['seconds']:>9.1f}{run['processor']:>11.1f}{size / run['seconds']:>7.1f}{rate:>13,.0f}"
            f"{run['memory_mib']:>13,.0f}"
        )
    ebb, pandas, arrow = (figures[name] for name in READERS)
    if ebb["rows"] != rows:
        message = f"{ebb['rows']:,} of {rows:,} rows became events"
        raise AssertionError(message)
    print(
        f"Of Ebb's processor time, {ebb['reading'] / ebb['processor']:.0%} is reading; the rest makes events of values."
    )
    result = {
        "megabytes": round(size, 1),
        "rows": rows,
        "rows_per_minute": round(rows / ebb["seconds"] * 60),
        "rows_per_processor_minute": round(rows / ebb["processor"] * 60),
        "seconds": round(ebb["seconds"], 2),
        "memory_mib": round(ebb["memory_mib"]),
        "memory_per_file": round(ebb["memory_mib"] * 2**20 / (size * 1e6), 2),
        "pandas_seconds": round(pandas["seconds"], 2),
        "pandas_memory_mib": round(pandas["memory_mib"]),
        "pyarrow_seconds": round(arrow["seconds"], 2),
        "pyarrow_memory_mib": round(arrow["memory_mib"]),
        "reading_to_pandas": round(ebb["reading"] / pandas["processor"], 2),
        "events_to_pandas": round(ebb["processor"] / pandas["processor"], 2),
    }
    print(json.dumps(result))


def write(path: Path, size: int) -> int:
    """Write a log of so many bytes; returns its rows."""
    chance = Random(7)  # noqa: S311 - a file to measure by
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("customer,time,event,item,quantity,amount,country,note\n")
        at = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
        while file.tell() < size:
            lines = []
            for _ in range(20_000):
                at += chance.expovariate(1 / 20)
                when = datetime.fromtimestamp(at - chance.random() * 3_600, UTC)
                note = '"left at the door,\nring twice"' if chance.random() < 0.01 else ""
                lines.append(
                    f"{chance.randrange(1, 50_000)},{when:%Y-%m-%d %H:%M:%S},purchase,"
                    f"{chance.randrange(10_000, 14_000)}A,{chance.randrange(1, 13)},"
                    f"{chance.randrange(50, 20_000) / 100},{chance.choice(COUNTRIES)},{note}\n"
                )
            file.write("".join(lines))
            rows += len(lines)
    return rows


def _run(reader: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.files", "--read", reader, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def read(reader: str, path: Path) -> dict[str, float]:
    """Read the file in this process; returns its figures."""
    run = {"ebb": _ebb, "pandas": _pandas, "pyarrow": _pyarrow}[reader]
    return run(path)


class _Meter:
    """Time and memory of this process, from when it is made."""

    def __init__(self) -> None:
        self._before = psutil.Process().memory_info().rss
        self._processor, self._began = time.process_time(), time.perf_counter()

    def read(self, rows: int, reading: float | None = None) -> dict[str, float]:
        """Return seconds, processor seconds, of those the ones spent on the text alone, rows and memory."""
        seconds, processor = time.perf_counter() - self._began, self.processor()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024
        return {
            "seconds": seconds,
            "processor": processor,
            "reading": processor if reading is None else reading,
            "rows": rows,
            "memory_mib": (most - self._before) / 2**20,
        }

    def processor(self) -> float:
        """Return processor seconds."""
        return time.process_time() - self._processor


def _ebb(path: Path) -> dict[str, float]:
    from producers.replay.presets import GENERIC, mapping_of  # noqa: PLC0415 - each process imports its reader alone
    from producers.replay.rows import Row, Rows, columns_of, complete_mapping  # noqa: PLC0415
    from producers.replay.sources import open_log  # noqa: PLC0415

    meter = _Meter()
    source = open_log(path)
    mapping = complete_mapping(mapping_of(GENERIC, MAPPING), source.names)
    log = source.read(columns_of(mapping))
    reading = meter.processor()
    rows = Rows(log, mapping, zone=UTC, latest=time.time(), max_bytes=65_536)
    accepted = sum(isinstance(row, Row) for row in rows)
    return meter.read(accepted, reading)


def _pandas(path: Path) -> dict[str, float]:
    import pandas as pd  # noqa: PLC0415

    meter = _Meter()
    table = pd.read_csv(path, dtype=str)
    return meter.read(len(table))


def _pyarrow(path: Path) -> dict[str, float]:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.csv as pa_csv  # noqa: PLC0415

    meter = _Meter()
    names = [pair.partition("=")[2] for pair in MAPPING]
    table = pa_csv.read_csv(
        path,
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    return meter.read(table.num_rows)


if __name__ == "__main__":
    main()
