"""What every librdkafka client of Ebb is told, whatever else it is for."""

import logging
from typing import Any

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.settings import PlaceSettings

LOG = logging.getLogger("librdkafka")
# What matters of librdkafka's log arrives as an error; whoever configures logging sees the rest.
LOG.addHandler(logging.NullHandler())


def client_config(settings: PlaceSettings, **more: Any) -> dict[str, Any]:
    """Return the configuration of a producer, consumer or admin client.

    It tries a broker that is away less and less often, and says so in the log of the process rather than on its own.

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
    """Return the configuration of a producer: idempotent, and agreeing with all others where a customer lives.

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
