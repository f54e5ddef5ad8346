"""Ids made to collide build no chains in any hash table, and the key that sees to it decides no result."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ebb.settings import Settings
from stream_processors.ingest.decoder import Decoder
from stream_processors.native import dictionary, secret
from stream_processors.native.secret import SECRET, home_slots
from stream_processors.state.customer_ids import Ids
from stream_processors.state.dedupe import DuplicateWindow
from stream_processors.state.engine import Engine
from stream_processors.state.table import STATE, Table
from stream_processors.types import AnyArray, Hashes, Words
from tests.support.activity import DAY_MS, Event, Log
from tests.support.crafted import colliding_ids, longest_chain
from tests.support.project import ROOT

IDS, TABLE_BITS = 2_000, 12
"""Ids that collide, and the bits of a slot in a table of so many ids."""
CHAIN = 250
"""Tables here are at most half full: the longest chain of random slots is about 40, and 250 has a chance of 10^-18."""
SLOTS = 7
"""Which argument of dictionary encoding is its table."""
OTHER_KEY: Words = np.array([1, 2], np.uint64)


@pytest.fixture(scope="module")
def crafted() -> list[str]:
    return colliding_ids(IDS, TABLE_BITS)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[AnyArray]:
    """Collect the slots of all dictionary encoding."""
    tables: list[AnyArray] = []
    number = dictionary._number

    def watched(*arguments: Any) -> int:
        tables.append(arguments[SLOTS])
        return number(*arguments)

    monkeypatch.setattr(dictionary, "_number", watched)
    return tables


def use_key(monkeypatch: pytest.MonkeyPatch, key: Words) -> None:
    monkeypatch.setattr(secret, "SECRET", key)
    monkeypatch.setattr(dictionary, "SECRET", key)


def processed(customers: Sequence[str], events: Sequence[str]) -> tuple[Engine, list[bool]]:
    """Process events in a few polls, each twice; return the engine, and which were accepted."""
    pairs = zip(customers, events, strict=True)
    log = [Event(customer, at, id=event, country="NL") for at, (customer, event) in enumerate(pairs)]
    log += [Event(customers[0], DAY_MS * 3, id="after days")]
    engine, decoder = Engine(0, Settings()), Decoder(Settings())
    accepted: list[bool] = []
    for poll in Log.of(log + log[::-1]).cut([300, 1_000, len(log)]):
        accepted += engine.process(decoder.decode(poll)).accepted.tolist()
    return engine, accepted


def test_ids_made_to_collide_share_no_chain(crafted: list[str], encoded: list[AnyArray]) -> None:
    engine, accepted = processed(crafted, crafted[::-1])
    assert sum(accepted) == IDS + 1
    assert len(engine.state) == IDS
    assert longest_chain(engine.window._slots) < CHAIN
    assert longest_chain(engine.state.ids._slots) < CHAIN
    assert sum(np.count_nonzero(slots) > CHAIN for slots in encoded) >= 2
    assert max(map(longest_chain, encoded)) < CHAIN


@pytest.mark.parametrize("bits", range(0, 49, 8))
def test_hashes_that_differ_in_few_bits_share_no_chain(bits: int) -> None:
    hashes: Hashes = np.arange(IDS, dtype=np.uint64) << np.uint64(bits)
    window, table = DuplicateWindow(2 * IDS, 7), Table(STATE)
    assert window.admit(hashes, np.zeros(IDS, np.int64)).all()
    assert longest_chain(window._slots) < CHAIN
    restored = DuplicateWindow(2 * IDS, 7)
    restored.restore(window.ring, window.seen, window.begun)
    assert longest_chain(restored._slots) < CHAIN
    table.grow(IDS)
    table["id_hash"][:] = hashes
    ids = Ids(table)
    ids.append(pa.array(np.arange(IDS)).cast(pa.utf8()))
    assert longest_chain(ids._slots) < CHAIN


@pytest.mark.parametrize(
    "text", ["{:04x}", "{:08}", "begin   {:08}", "begin---{:04}---ended", "begin---{:050}x---ended"]
)
def test_texts_that_differ_in_few_bytes_share_no_chain(text: str, encoded: list[AnyArray]) -> None:
    texts = [text.format(number) for number in range(IDS)]
    codes, values = dictionary.codes_and_values(pa.array(texts * 2, pa.utf8()))
    assert codes.tolist() == [*range(IDS)] * 2
    assert values.to_pylist() == texts
    assert dictionary.dictionary_encode(pa.chunked_array([texts], pa.utf8())).dictionary.to_pylist() == texts
    assert len(encoded) == 2
    assert max(map(longest_chain, encoded)) < CHAIN


def test_slots_depend_on_both_words_of_the_key_and_stay_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = np.arange(1_000, dtype=np.uint64)
    found: list[AnyArray] = []
    for key in (SECRET, [1, 2], [1, 3], [5, 2]):
        use_key(monkeypatch, np.array(key, np.uint64))
        slots = home_slots(hashes, 2**20)
        assert slots.min() >= 0
        assert 2**18 < slots.max() < 2**20
        assert slots.tolist() == home_slots(hashes, 2**20).tolist()
        assert all((slots != other).mean() > 0.99 for other in found)
        found.append(slots)


def test_no_result_depends_on_the_key(
    crafted: list[str], encoded: list[AnyArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, accepted = processed(crafted, crafted[::-1])
    before = [slots.copy() for slots in encoded]
    encoded.clear()
    use_key(monkeypatch, OTHER_KEY)
    other, also_accepted = processed(crafted, crafted[::-1])
    assert (engine.window._slots != other.window._slots).any()
    assert (engine.state.ids._slots != other.state.ids._slots).any()
    assert any((one != two).any() for one, two in zip(before, encoded, strict=True))
    assert accepted == also_accepted
    assert engine.state.digest() == other.state.digest()
    assert engine.window.ring.tobytes() == other.window.ring.tobytes()


SCRIPT = """
import sys
from stream_processors.native.secret import SECRET, home_slots
from tests.unit.stream_processors.native.test_secret import processed
import numpy as np
ids = [str(number) for number in range(2_000)]
engine, _ = processed(ids, ids)
print(SECRET.tobytes().hex(), home_slots(np.arange(9, dtype=np.uint64), 2**20).tolist(), sep="\\n")
print(engine.state.digest())
"""


def test_each_process_has_a_key_of_its_own_and_the_same_state() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    key, slots, digest = done.stdout.split("\n")[:3]
    ids = [str(number) for number in range(2_000)]
    assert key != SECRET.tobytes().hex()
    assert slots != str(home_slots(np.arange(9, dtype=np.uint64), 2**20).tolist())
    assert digest == processed(ids, ids)[0].state.digest()
