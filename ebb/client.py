"""A client of Ebb's stream: an async iterator that survives disconnects and yields each alert once."""

import asyncio
import math
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from ebb.contracts.scores import Alert, Score
from ebb.contracts.stream import ALERTS_HELD, CloseCode, Filter, Topic, may_reconnect
from ebb.errors import KeyRefusedError, StreamRefusedError, UnavailableError
from ebb.loopback import LOOPBACK

LONGEST_WAIT = 15.0
"""Seconds between two attempts at most; each wait is random, so that a thousand clients do not reconnect at once."""
REMEMBERED = 10 * ALERTS_HELD
"""Ids of alerts kept so that none is yielded twice: ten times what the API can send again."""
_PAGE = 500
_KEY_CODES = frozenset({CloseCode.NO_KEY, CloseCode.WRONG_SCOPE, CloseCode.KEY_ENDED, 401, 403})


@dataclass(frozen=True)
class Gap:
    """Events may have been missed; fetch the current state by REST."""

    scores: bool
    """Scores may have changed unseen."""
    alerts: bool
    """More alerts were raised than the API holds; those that it holds are yielded."""


class Stream:
    """Scores and alerts of an API as they are published.

    It reconnects when the connection is cut or falls silent, and resumes where it was. Where the API cannot replay
    what was missed (it was restarted, or another replica answers), alerts are fetched by REST, and a `Gap` names what
    else to fetch. Each alert that is raised after the iteration began is yielded exactly once.

    Parameters
    ----------
    url
        Where the API is: `http://127.0.0.1:8000`.
    api_key
        A key that may read, if the API requires one.
    topics
        Of `scores` and `alerts`.
    bands, customers, countries
        What to subscribe to; None does not filter.
    minimum
        Least churn probability.
    start_seconds
        Seconds to try before the first answer.
    patience_seconds
        Seconds to try again after a disconnect; for ever by default.
    report
        Called with a sentence when the connection is made or lost.

    Raises
    ------
    KeyRefusedError, StreamRefusedError
        While iterating: the API closed the stream for good.
    UnavailableError
        While iterating: no API answered for `start_seconds`, or `patience_seconds` after a disconnect.

    Examples
    --------
    >>> async with Stream("http://127.0.0.1:8000", topics=["alerts"], bands=["critical"]) as stream:  # doctest: +SKIP
    ...     async for alert in stream:
    ...         print(alert.customer_id, alert.why)
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        topics: Collection[Topic] = ("scores", "alerts"),
        bands: Collection[str] | None = None,
        customers: Collection[str] | None = None,
        countries: Collection[str] | None = None,
        minimum: float | None = None,
        start_seconds: float = 10.0,
        patience_seconds: float = math.inf,
        report: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url.rstrip("/").replace("ws", "http", 1) if url.startswith("ws") else url.rstrip("/")
        self.cuts = 0
        """Connections that were lost."""
        self.position: tuple[str, int] | None = None
        """Epoch, and sequence up to which everything was yielded."""
        parts = {"bands": bands, "customers": customers, "countries": countries, "minimum": minimum}
        self._filter = Filter.model_validate(
            {name: frozenset(part) if isinstance(part, Collection) else part for name, part in parts.items()}
        )
        self._key = api_key
        self._topics = sorted(set(topics))
        self._start_seconds, self._patience_seconds = start_seconds, patience_seconds
        self._report = report or (lambda _: None)
        # Loopback is never reached by a proxy, whatever the environment sets.
        self._proxied = urlsplit(self.url).hostname not in LOOPBACK
        self._known: OrderedDict[str, None] | None = None
        """Ids of alerts that were yielded, or raised before the iteration; None until they were fetched."""
        self._alerts_pending = "alerts" in self._topics
        """Whether alerts must be fetched that no connection sent."""
        self._resume_failed = False
        """Whether the API could not resume, so that a `Gap` may be due."""
        self._recheck = False
        self._silence = 60.0
        self._attempts = 0
        self._detail = ""
        self._iterator: AsyncGenerator[Score | Alert | Gap, None] | None = None

    async def __aenter__(self) -> Self:
        """Return the stream; the iteration connects."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        if self._iterator is not None:
            await self._iterator.aclose()

    def __aiter__(self) -> AsyncGenerator[Score | Alert | Gap, None]:
        """Iterate over messages; the same iteration each time."""
        if self._iterator is None:
            self._iterator = self._iterate()
        return self._iterator

    async def _iterate(self) -> AsyncGenerator[Score | Alert | Gap, None]:
        received_at = time.monotonic()
        while True:
            try:
                if self._alerts_pending and self._known is None:
                    self._known = OrderedDict.fromkeys(alert["alert_id"] for alert in await self._alerts())
                address = f"{self.url.replace('http', 'ws', 1)}/v1/stream"
                async with connect(address, proxy=True if self._proxied else None, compression=None) as socket:
                    await socket.send(self._subscription())
                    while True:
                        async with asyncio.timeout(self._silence):
                            message = await socket.recv()
                        received_at = time.monotonic()
                        for item in await self._handle(orjson.loads(message)):
                            yield item
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if 3000 <= code < 3500:  # the API asks to reconnect
                    received_at = time.monotonic()
                why = self._check(code, closed.rcvd.reason if closed.rcvd else "the connection was cut")
            except InvalidStatus as error:
                why = self._check(error.response.status_code, "the handshake was refused")
            except (OSError, TimeoutError, InvalidHandshake, httpx.TransportError) as error:
                why = str(error) or "no message arrived in time"
            patience = self._start_seconds if self.position is None else self._patience_seconds
            if time.monotonic() - received_at > patience:
                what = f"{self.url} does not answer: {why}."
                raise UnavailableError(what, "Start Ebb by `make demo` or `ebb up`, or name its port by EBB_API_PORT.")
            if self._attempts == 0 and self.position is not None:
                self.cuts += 1
                self._report(f"The connection to {self.url} is lost ({why}); trying again.")
            await asyncio.sleep(random.uniform(0, min(LONGEST_WAIT, 0.5 * 2.0 ** min(self._attempts, 6))))  # noqa: S311
            self._attempts += 1

    def _subscription(self) -> str:
        message: dict[str, Any] = {"type": "subscribe", "topics": self._topics}
        message["filter"] = self._filter.model_dump(mode="json", exclude_none=True)
        if self._key:
            message["api_key"] = self._key
        if self.position is not None:
            message |= {"type": "resume", "epoch": self.position[0], "sequence": self.position[1]}
        return orjson.dumps(message).decode()

    async def _handle(self, message: dict[str, Any]) -> list[Score | Alert | Gap]:
        items: list[Score | Alert | Gap] = []
        kind, data = message["type"], message.get("data", {})
        if kind == "error":
            self._detail = data["detail"]
            return items
        if kind in {"subscribed", "unrecoverable"}:
            if kind == "unrecoverable":
                self._resume_failed, self._alerts_pending = True, "alerts" in self._topics
            # Two heartbeats lost and part of a third.
            self._silence = 2.5 * message["heartbeat_seconds"] + 1
            self._report(f"{'Watching' if self.position is None else 'Back at'} {self.url}.")
            self._attempts = 0
        if self._alerts_pending or (kind == "heartbeat" and self._recheck):
            items = await self._catch_up()
        elif self._resume_failed:
            items = [Gap(scores=True, alerts=False)]
        self._resume_failed = False
        if kind == "score":
            items.append(Score.model_validate(data, extra="ignore"))
        elif kind == "alert" and self._is_new(data):
            items.append(Alert.model_validate(data, extra="ignore"))
        epoch = message.get("epoch") or (self.position[0] if self.position else "")
        self.position = (epoch, message["sequence"])
        return items

    async def _catch_up(self) -> list[Score | Alert | Gap]:
        """Fetch the alerts that no connection sent; report what remains missed."""
        listed = await self._alerts()
        complete = len(listed) < ALERTS_HELD or any(alert["alert_id"] in (self._known or ()) for alert in listed)
        missed = [Alert.model_validate(alert, extra="ignore") for alert in reversed(listed) if self._is_new(alert)]
        # One address may serve several replicas, one of them a moment behind: it has caught up by the next heartbeat.
        self._recheck = self._alerts_pending
        self._alerts_pending = False
        scores = self._resume_failed and "scores" in self._topics
        gap: list[Score | Alert | Gap] = [Gap(scores=scores, alerts=not complete)] if scores or not complete else []
        matching = [alert for alert in missed if self._passes(alert)]
        return [*gap, *matching]

    async def _alerts(self) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        listed: list[dict[str, Any]] = []
        token: str | None = None
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=self._proxied, timeout=10) as http:
            while True:
                more = {"page_token": token} if token else {}
                response = await http.get("/v1/alerts", params={"page_size": _PAGE, **more})
                if response.status_code != 200:
                    raise httpx.TransportError(self._check(response.status_code, response.reason_phrase))
                page = response.json()
                listed += page["alerts"]
                token = page["next_page_token"]
                if token is None:
                    return listed

    def _is_new(self, alert: dict[str, Any]) -> bool:
        if self._known is None or alert["alert_id"] in self._known:
            return False
        self._known[alert["alert_id"]] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True

    def _passes(self, alert: Alert) -> bool:
        return self._filter.passes(
            customer_id=alert.customer_id, band=alert.band, churn=alert.churn, country=alert.country
        )

    def _check(self, code: int, why: str) -> str:
        """Return why a connection ended; raise if the API closed the stream for good."""
        if code == CloseCode.FULL:
            self._attempts = max(self._attempts, 3)
        if code in _KEY_CODES:
            what = f"{self.url} refuses the key ({code}): {self._detail or why}"
            raise KeyRefusedError(what, "Create one by `ebb keys create`.", code=code)
        if (400 <= code < 500 and code not in {408, 429}) or (code >= 1000 and not may_reconnect(code)):
            what = f"{self.url} refuses the stream ({code}): {self._detail or why}"
            raise StreamRefusedError(what, code=code)
        return f"{code} {why}".strip()
