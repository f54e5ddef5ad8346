"""The AsyncAPI document is self-contained and agrees with the models of the protocol."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from ebb.contracts.stream import CLIENT_MESSAGE, CloseCode
from serving.api.asyncapi import document


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def resolved(reference: str) -> Any:
    node: Any = document()
    assert reference.startswith("#/")
    for step in reference[2:].split("/"):
        node = node[step]
    return node


def test_document_has_what_asyncapi_3_requires_and_every_reference_resolves() -> None:
    specification = document()
    assert specification["asyncapi"].startswith("3.")
    assert {"title", "version"} <= set(specification["info"])
    for reference in references(specification):
        assert resolved(reference)
    channel = specification["channels"]["stream"]
    spoken = set()
    for operation in specification["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert resolved(operation["channel"]["$ref"]) is channel
        for message in operation["messages"]:
            assert message["$ref"].startswith("#/channels/stream/messages/"), (
                "an operation names messages of its channel"
            )
            spoken.add(message["$ref"].rsplit("/", 1)[1])
    assert spoken == set(channel["messages"]) == set(specification["components"]["messages"])
    for schema in specification["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    used = set(references({**specification, "components": {"messages": specification["components"]["messages"]}}))
    used |= set(references(specification["components"]["schemas"]))
    assert {f"#/components/schemas/{name}" for name in specification["components"]["schemas"]} <= used


def test_document_lists_every_close_code() -> None:
    codes = document()["channels"]["stream"]["x-close-codes"]
    assert set(codes) == {str(int(code)) for code in CloseCode}
    assert codes["3008"] == {"name": "going_away", "reconnect": True}
    assert codes["4401"] == {"name": "no_key", "reconnect": False}


@pytest.mark.parametrize(
    ("message", "good"),
    [
        ({"type": "subscribe"}, True),
        ({"type": "subscribe", "id": "a", "bands": ["high"], "filter": {"minimum": 0.5, "customers": ["c"]}}, True),
        ({"type": "subscribe", "bands": ["odd"]}, False),
        ({"type": "subscribe", "x": 1}, False),
        ({"type": "subscribe", "id": "a" * 65}, False),
        ({"type": "subscribe", "topics": []}, False),
        ({"type": "subscribe", "filter": {"minimum": 2}}, False),
        ({"type": "resume", "epoch": "e", "sequence": 0}, True),
        ({"type": "resume", "epoch": "e", "sequence": -1}, False),
        ({"type": "resume", "epoch": "e"}, False),
        ({"type": "unsubscribe", "id": "a"}, True),
        ({"type": "ping"}, True),
        ({"type": "ping", "id": "a"}, False),
    ],
)
def test_schemas_accept_and_reject_the_same_messages_as_the_server(message: dict[str, Any], good: bool) -> None:
    payload = document()["components"]["messages"][message["type"]]["payload"]
    schema = {**payload, "components": document()["components"]}
    assert Draft202012Validator(schema).is_valid(message) == good
    try:
        CLIENT_MESSAGE.validate_python(message)
    except ValidationError:
        assert not good
    else:
        assert good
