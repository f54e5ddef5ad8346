"""The docs page on serving agrees with the code."""

import re

from ebb.contracts.stream import CloseCode, may_reconnect
from ebb.settings import Settings
from serving.app import create_app
from tests.support.project import ROOT

TEXT = (ROOT / "docs" / "serving.md").read_text("utf-8")


def test_docs_list_every_close_code_and_whether_to_reconnect() -> None:
    documented = {
        int(code): answer.startswith("yes") for code, answer in re.findall(r"\| (\d{4}) \|.*\| (\w+)[^|]*\|", TEXT)
    }
    assert set(documented) == {int(code) for code in CloseCode} | {1002, 1007, 1009}
    assert all(may_reconnect(code) == answer for code, answer in documented.items())


def test_docs_name_every_path_of_the_interface() -> None:
    for path in create_app(Settings()).openapi()["paths"]:
        assert path.replace("{customer_id}", "{id}") in TEXT or path == "/v1/stream/sse", path


def test_docs_name_the_asyncapi_document() -> None:
    assert "/asyncapi.json" in TEXT
