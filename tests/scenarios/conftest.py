"""Settings that the stories of workers share."""

import pytest

from ebb.settings import Settings
from tests.support.workers import hurried


@pytest.fixture
def settings(space: Settings) -> Settings:
    """A namespace whose events are soon labels."""
    return hurried(space, sweep_seconds=1.0)
