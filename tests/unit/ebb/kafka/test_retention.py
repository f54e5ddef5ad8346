"""By when a topic lets go of a record, from its configuration."""

from datetime import UTC, datetime, timedelta

import pytest

from ebb.kafka.retention import BROKER_CHECKS, TopicRetention

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86_400_000


@pytest.mark.parametrize(
    ("config", "days"),
    [
        ({"retention.ms": str(7 * DAY), "segment.ms": str(DAY)}, 8),
        ({"retention.ms": str(7 * DAY)}, 14),
        ({}, 14),
        ({"cleanup.policy": "compact", "segment.ms": str(DAY), "max.compaction.lag.ms": str(DAY)}, 5),
        ({"cleanup.policy": "compact,delete", "segment.ms": str(DAY), "retention.ms": str(DAY)}, 2),
    ],
)
def test_a_record_goes_with_its_segment_or_by_compaction(config: dict[str, str], days: int) -> None:
    assert TopicRetention.of(config).lets_go(AT) == AT + timedelta(days=days) + BROKER_CHECKS


@pytest.mark.parametrize(
    "config",
    [{"retention.ms": "-1"}, {"cleanup.policy": "compact"}, {"segment.ms": "9223372036854775807"}],
)
def test_nothing_ends_what_is_kept_for_good(config: dict[str, str]) -> None:
    assert TopicRetention.of(config).lets_go(AT) is None
