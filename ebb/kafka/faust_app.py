"""Faust as Ebb runs it: settings whose defaults do not fit, and how to run an app."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any

import faust
from faust.worker import Worker

from ebb.errors import EbbError
from ebb.liveness import BEAT_SECONDS, Liveness
from ebb.log import get_logger
from ebb.settings import Settings

log = get_logger(__name__)

HEARTBEATS = 5
"""Missed heartbeats after which the group gives a worker's partitions to another."""


def make_app(settings: Settings, part: str, **overrides: Any) -> faust.App:
    """Return a Faust app in the consumer group of a part.

    Parameters
    ----------
    part
        `worker` or `learner`; names the group.
    overrides
        Further settings of `faust.App`.
    """
    datadir = settings.home / "faust" / settings.group(part)
    datadir.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {
        "broker": f"kafka://{settings.kafka_bootstrap}",
        "store": "memory://",
        "datadir": datadir,
        # Ebb creates its topics; the leader topic would be one more idle topic to wait for.
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "web_enabled": False,
        "web_in_thread": False,
        "consumer_auto_offset_reset": "earliest",
        "broker_max_poll_records": settings.poll_records,
        "broker_commit_interval": 1.0,
        # Faust's 60 would leave customers unscored for a minute after a crash.
        "broker_session_timeout": settings.session_seconds,
        "broker_heartbeat_interval": settings.session_seconds / HEARTBEATS,
        "stream_buffer_maxsize": 8,
        "stream_wait_empty": False,
        # A checkpoint may have to wait for ClickHouse; the partitions must not be revoked meanwhile.
        "broker_max_poll_interval": 86_400.0,
        "stream_processing_timeout": 86_400.0,
        "broker_commit_livelock_soft_timeout": 86_400.0,
        "logging_config": None,
        "loghandlers": [],
    }
    return faust.App(settings.group(part), **(options | overrides))


async def guarded(app: faust.App, work: Awaitable[None]) -> None:
    """Crash the app if `work` raises. Faust acknowledges a message whose agent failed, which would lose it."""
    try:
        await work
    except Exception as error:
        if isinstance(error, EbbError):  # it says itself what to do; where it was raised helps nobody
            log.error("worker stops", reason=error.what, hint=error.hint)
        else:
            log.exception("worker crashed", reason=str(error))
        await app.crash(error)
        raise


def run_app(app: faust.App, liveness: Liveness) -> None:
    """Run a Faust app in this process until SIGTERM or Ctrl-C; logging stays as Ebb set it.

    Parameters
    ----------
    liveness
        Is shown every turn of the app's loop.

    Raises
    ------
    SystemExit
        With a code other than 0 if the app crashed.
    """

    async def beat() -> None:
        while not app.should_stop:
            liveness.beat()
            await asyncio.sleep(BEAT_SECONDS)

    app.task(beat)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = Worker(
        app,
        loop=loop,
        loglevel=logging.WARNING,
        logging_config=None,
        override_logging=False,
        redirect_stdouts=False,
        quiet=True,
        console_port=0,
    )
    worker.spinner = None
    worker._setup_logging = lambda: None  # type: ignore[method-assign]
    worker.execute_from_commandline()
