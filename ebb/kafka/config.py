"""Configuration that every librdkafka client of Ebb shares."""

import logging
import shutil
from typing import Any

from ebb.contracts.topics import MAX_MESSAGE_BYTES
from ebb.loopback import LOOPBACK
from ebb.settings import PlaceSettings

LEAST_BYTES = 64 * 2**20
"""Free bytes below which a disk counts as full; a broker that cannot append to a log ends."""

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


def broker_hint(settings: PlaceSettings, otherwise: str) -> str:
    """Return what to do about a broker that does not answer: free its disk, where that is this machine's and full."""
    hosts = {address.strip().rpartition(":")[0].strip("[]") for address in settings.kafka_bootstrap.split(",")}
    if not hosts <= LOOPBACK:
        return otherwise
    try:
        free = shutil.disk_usage(settings.home).free
    except OSError:
        return otherwise
    if free >= LEAST_BYTES:
        return otherwise
    return f"The disk of {settings.home} is full, {free / 2**20:.0f} MiB are left: free space; what waits goes on then."


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
