"""Configuration that every librdkafka client of Ebb shares."""

import logging
from typing import Any

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.settings import PlaceSettings

LOG = logging.getLogger("librdkafka")
# What matters of librdkafka's log arrives as an error; configured logging shows the rest.
LOG.addHandler(logging.NullHandler())


def client_config(settings: PlaceSettings, **more: Any) -> dict[str, Any]:
    """Return the configuration of a producer, consumer or admin client.

    It reconnects to a lost broker with back-off, and logs to the process's log rather than to stderr.

    Parameters
    ----------
    more
        Further settings, their dots written as underscores: `group_id="reader"`.
    """
    return {
        "bootstrap.servers": settings.kafka_bootstrap,
        "reconnect.backoff.ms": 250,
        "reconnect.backoff.max.ms": 5_000,
        "log.connection.close": False,
        "logger": LOG,
        **{name.replace("_", "."): value for name, value in more.items()},
    }


def producer_config(settings: PlaceSettings, **more: Any) -> dict[str, Any]:
    """Return the configuration of a producer: idempotent, with the partitioner that all producers share.

    Parameters
    ----------
    more
        Further settings, as for `client_config`.
    """
    return client_config(
        settings,
        enable_idempotence=True,
        # The partitioner of Kafka's own clients.
        partitioner="murmur2_random",
        compression_type="lz4",
        message_max_bytes=MAX_MESSAGE_BYTES,
        **more,
    )
