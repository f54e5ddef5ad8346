"""The docs page on sending activity agrees with what the code accepts and refuses."""

import ast
import json
import re

import pytest

from ebb.contracts.activity import Properties, decode_activity
from ebb.errors import InvalidEventError
from tests.support.project import ROOT

LATEST = 4e9


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "events.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def example(page: str) -> dict[str, object]:
    match = re.search(r"```json\n(.*?)```", page, re.DOTALL)
    assert match is not None
    event: dict[str, object] = json.loads(match[1])
    return event


def test_docs_example_event_is_accepted_with_its_properties(example: dict[str, object]) -> None:
    event, properties = decode_activity(json.dumps(example).encode(), latest=LATEST, max_bytes=65_536)
    assert (event.customer_id, event.type, properties.amount) == ("c-48213", "purchase", 49.9)


def test_docs_python_example_sends_an_event_that_is_accepted(page: str) -> None:
    match = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert match is not None
    for node in ast.parse(match[1]).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            event = ast.literal_eval(node.value)
    assert decode_activity(json.dumps(event).encode(), latest=LATEST, max_bytes=65_536)[0].type == "login"
    # The same partitioner as the producers of the house, or one customer would live in two partitions.
    assert '"partitioner": "murmur2_random"' in match[1]
    assert 'partitioner="murmur2_random"' in (ROOT / "ebb" / "kafka" / "config.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("field", ["event_id", "customer_id", "type", "occurred_at"])
def test_docs_required_fields_are_required(field: str, example: dict[str, object]) -> None:
    lacking = {name: value for name, value in example.items() if name != field}
    with pytest.raises(InvalidEventError) as refused:
        decode_activity(json.dumps(lacking).encode(), latest=LATEST, max_bytes=65_536)
    assert refused.value.reason == "missing_field"


def test_docs_properties_may_be_left_out(example: dict[str, object]) -> None:
    bare = {name: value for name, value in example.items() if name != "properties"}
    assert decode_activity(json.dumps(bare).encode(), latest=LATEST, max_bytes=65_536)[1] == Properties()


def test_docs_name_every_known_property(page: str) -> None:
    row = next(line for line in page.splitlines() if line.startswith("| `properties`"))
    known = row.partition("Known and used: ")[2].partition(";")[0]
    assert re.findall(r"`(\w+)`", known) == list(Properties.__struct_fields__)


def test_docs_name_every_reason_for_which_a_record_is_refused(page: str) -> None:
    documented = set(re.findall(r"^\| `(\w+)` \| (?:has|is|lacks|claims)", page, re.MULTILINE))
    used: set[str] = set()
    for module in ("ebb/contracts/activity.py", "stream_processors/ingest/decoder.py"):
        text = (ROOT / module).read_text(encoding="utf-8")
        used |= set(re.findall(r'reason="(\w+)"', text)) | set(re.findall(r'reason = "(\w+)"', text))
        used |= {"missing_field", "wrong_type"} & set(re.findall(r'"(\w+)"', text))
    assert documented == used
