"""The gate of the embedded server needs a password."""

import pytest
from starlette.applications import Starlette

from clickhouse.embedded.gate import Gate
from ebb.errors import SetupError


def test_without_a_password_there_is_no_server() -> None:
    with pytest.raises(SetupError, match="EBB_CLICKHOUSE_PASSWORD"):
        Gate(Starlette(), user="default", password="")
