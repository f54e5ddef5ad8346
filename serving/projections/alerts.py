"""The newest alerts, in memory."""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from ebb.log import get_logger
from ebb.metrics import RECORDS_REFUSED
from serving.projections.types import Aware, BandName

_log = get_logger(__name__)


class AlertFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of an alert that are sorted and filtered by."""

    alert_id: str
    customer_id: str
    band: BandName
    churn: float
    country: str | None
    raised_at: Aware


class RecentAlerts:
    """The newest alerts by id. One thread adds, any number read.

    An alert that is published again after a worker's crash has the same id and is not added twice.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._decoder = msgspec.json.Decoder(AlertFields)
        self._alerts: OrderedDict[str, tuple[AlertFields, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._alerts)

    def add(self, bodies: Sequence[bytes]) -> list[tuple[AlertFields, bytes]]:
        """Add alerts; return those that were new."""
        new: list[tuple[AlertFields, bytes]] = []
        for body in bodies:
            try:
                alert = self._decoder.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                RECORDS_REFUSED.labels("alerts").inc()
                _log.warning("alert refused", error=str(error))
                continue
            if alert.alert_id in self._alerts:
                continue
            self._alerts[alert.alert_id] = (alert, body)
            new.append((alert, body))
        self._keep_newest()
        return new

    def get(self, alert_id: str) -> tuple[AlertFields, bytes] | None:
        """Return an alert, None if it is not among the newest."""
        return self._alerts.get(alert_id)

    def forget(self, condition: Callable[[AlertFields], bool]) -> None:
        """Drop the alerts for which a condition holds; one that is published again is added again."""
        for alert, _ in list(self._alerts.values()):
            if condition(alert):
                del self._alerts[alert.alert_id]

    def newest(
        self,
        size: int,
        *,
        bands: Sequence[str] = (),
        customer_id: str | None = None,
        condition: Callable[[str], bool] = lambda _: True,
        after: tuple[float, str] | None = None,
    ) -> tuple[list[tuple[str, bytes]], tuple[float, str] | None]:
        """Return a page of alerts, the newest first, and the token of the next (time raised and id of the last listed).

        Parameters
        ----------
        condition
            Whether to list the alert with an id.
        after
            The token that came with the page before.

        Returns
        -------
        list of (str, bytes), tuple or None
            Id and JSON of each.
        """
        matches = [
            (-alert.raised_at.timestamp(), alert.alert_id, body)
            for alert, body in list(self._alerts.values())
            if (not bands or alert.band in bands)
            and customer_id in (None, alert.customer_id)
            and condition(alert.alert_id)
        ]
        if after is not None:
            matches = [match for match in matches if match[:2] > (-after[0], after[1])]
        matches.sort(key=lambda match: match[:2])
        page = matches[:size]
        following = (-page[-1][0], page[-1][1]) if len(matches) > size else None
        return [(alert_id, body) for _, alert_id, body in page], following

    def _keep_newest(self) -> None:
        # By the time they were raised, not read: replicas read the partitions in different orders and must agree.
        surplus = len(self._alerts) - self._kept
        if surplus > 0:
            kept = [(-alert.raised_at.timestamp(), alert.alert_id) for alert, _ in self._alerts.values()]
            for _, alert_id in heapq.nlargest(surplus, kept):
                del self._alerts[alert_id]
