"""The newest alerts, in memory."""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from ebb.log import get_logger

BandName = Literal["low", "medium", "high", "critical"]
_log = get_logger(__name__)


class Raised(msgspec.Struct, frozen=True, gc=False):
    """The fields of an alert that are sorted and filtered by."""

    alert_id: str
    customer_id: str
    band: BandName
    churn: float
    country: str | None
    raised_at: datetime


class RecentAlerts:
    """The newest alerts by id. One thread adds, any number list.

    An alert that is written again after a worker's crash has the same id and is not told twice.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._decoder = msgspec.json.Decoder(Raised)
        self._alerts: OrderedDict[str, tuple[Raised, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._alerts)

    def add(self, bodies: Sequence[bytes]) -> list[tuple[Raised, bytes]]:
        """Take up alerts; return those that were not known."""
        new: list[tuple[Raised, bytes]] = []
        for body in bodies:
            try:
                alert = self._decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                _log.warning("alert_refused", error=str(error))
                continue
            if alert.alert_id in self._alerts:
                continue
            self._alerts[alert.alert_id] = (alert, body)
            new.append((alert, body))
        self._keep_newest()
        return new

    def get(self, alert_id: str) -> tuple[Raised, bytes] | None:
        """Return an alert, None if it is not among the newest."""
        return self._alerts.get(alert_id)

    def forget(self, unwanted: Callable[[Raised], bool]) -> None:
        """Let go of alerts; those that are written again are taken up again."""
        for alert, _ in list(self._alerts.values()):
            if unwanted(alert):
                del self._alerts[alert.alert_id]

    def newest(
        self,
        size: int,
        *,
        bands: Sequence[str] = (),
        customer_id: str | None = None,
        wanted: Callable[[str], bool] = lambda _: True,
        after: tuple[float, str] | None = None,
    ) -> tuple[list[tuple[str, bytes]], tuple[float, str] | None]:
        """List alerts, the newest first, and say where the next page begins (time raised and id of the last listed).

        Parameters
        ----------
        wanted
            Whether an alert of an id is to be listed.
        after
            What was said of the page before.

        Returns
        -------
        list of (str, bytes), tuple or None
            Id and JSON of each.
        """
        found = [
            (-alert.raised_at.timestamp(), alert.alert_id, body)
            for alert, body in list(self._alerts.values())
            if (not bands or alert.band in bands)
            and customer_id in (None, alert.customer_id)
            and wanted(alert.alert_id)
        ]
        if after is not None:
            found = [one for one in found if one[:2] > (-after[0], after[1])]
        found.sort(key=lambda one: one[:2])
        page = found[:size]
        following = (-page[-1][0], page[-1][1]) if len(found) > size else None
        return [(alert_id, body) for _, alert_id, body in page], following

    def _keep_newest(self) -> None:
        # By the time they were raised, not by when they were read: replicas read the partitions in different orders and
        # must hold the same.
        surplus = len(self._alerts) - self._kept
        if surplus > 0:
            held = [(-alert.raised_at.timestamp(), alert.alert_id) for alert, _ in self._alerts.values()]
            for _, alert_id in heapq.nlargest(surplus, held):
                del self._alerts[alert_id]
