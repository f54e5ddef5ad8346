"""Carrying out requests for a champion or a split of the customers, as part of the fold.

A request takes effect between two boundaries: after the last one that its partition had closed before it, and before
the next. So its effect follows from the topic alone, at once where learning keeps up, and a replay repeats it. What the
rule would choose is worked out all the while and serves again when the hold is released. A split stays until it is
ended; while its challenger serves everybody anyway, there is nothing to split.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebb.contracts.examples import PARTITION, ChampionRequest
from ebb.contracts.models import FROZEN, ModelSnapshot, Target
from ebb.errors import EbbError
from ebb.log import get_logger
from online_ml.learning.alignment import BoundaryAligner
from online_ml.learning.target import TargetLearner
from online_ml.scoring.scorer import load

log = get_logger(__name__)


@dataclass(frozen=True)
class Hold:
    """What serves by request."""

    candidate: str
    snapshot: ModelSnapshot | None = None
    """The version that serves, frozen; None if the candidate serves as it learns."""


@dataclass(frozen=True)
class RequestedSplit:
    """Which candidate scores a share of the customers in the place of what serves."""

    candidate: str
    share: float


@dataclass(frozen=True)
class Decision:
    """What became of a request."""

    request: ChampionRequest
    boundary: int
    """Last boundary learned before it."""
    former: str | None
    champion: str | None
    version: int
    refusal: str = ""
    """Why it was not carried out; empty if it was."""


class Requests:
    """Requests that wait for their moment, and what is held by those carried out."""

    def __init__(self) -> None:
        self.held: dict[Target, Hold] = {}
        self.splits: dict[Target, RequestedSplit] = {}
        self.done_until = -1
        """Offset of the last request carried out or refused."""
        self.decisions: list[Decision] = []
        """Decisions not collected yet."""
        self._waiting: list[tuple[int, int, ChampionRequest]] = []

    def add(self, request: ChampionRequest, offset: int, progress: BoundaryAligner) -> bool:
        """Take in a request as it comes; return False if it was seen before."""
        known = self._waiting[-1][0] if self._waiting else self.done_until
        if offset <= known:
            return False
        self._waiting.append((offset, progress.closed.get(PARTITION, -1), request))
        return True

    def apply(self, progress: BoundaryAligner, targets: Mapping[Target, TargetLearner], boundary: int | None) -> None:
        """Decide the requests that are due: every boundary closed before them is learned."""
        while self._waiting and self._waiting[0][1] <= progress.taken.get(PARTITION, -1):
            offset, _, request = self._waiting.pop(0)
            self.done_until = offset
            self.decisions.append(self._decide(request, targets[request.target], boundary))

    def serving(self, learner: TargetLearner) -> str | None:
        """Return the name of what serves a target: what is held, or the rule's champion."""
        hold = self.held.get(learner.target)
        if hold is None:
            return learner.champion
        return FROZEN if hold.snapshot is not None else hold.candidate

    def collect(self) -> list[Decision]:
        """Return what was decided since the last call."""
        made, self.decisions = self.decisions, []
        return made

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold, as plain JSON."""
        held = {
            target: {"candidate": hold.candidate, "snapshot": hold.snapshot and hold.snapshot.model_dump()}
            for target, hold in sorted(self.held.items())
        }
        splits = {target: [split.candidate, split.share] for target, split in sorted(self.splits.items())}
        return {"done_until": self.done_until, "held": held, "splits": splits}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Load what `state` returned."""
        self.done_until = int(state["done_until"])
        self.held = {
            target: Hold(one["candidate"], one["snapshot"] and ModelSnapshot.model_validate(one["snapshot"]))
            for target, one in state["held"].items()
        }
        self.splits = {
            target: RequestedSplit(candidate, share) for target, (candidate, share) in state["splits"].items()
        }

    def _decide(self, request: ChampionRequest, learner: TargetLearner, boundary: int | None) -> Decision:
        former = self.serving(learner)
        refusal = _refusal(request, learner, former)
        if refusal:
            log.warning("request refused", target=request.target, request=request.request_id, reason=refusal)
        elif request.action == "release":
            self.held.pop(request.target, None)
        elif request.action == "unsplit":
            self.splits.pop(request.target, None)
        elif request.share is not None:
            self.splits[request.target] = RequestedSplit(str(request.candidate), request.share)
        elif request.snapshot is not None:
            self.held[request.target] = Hold(request.snapshot.candidate, request.snapshot)
        else:
            self.held[request.target] = Hold(str(request.candidate))
        champion = self.serving(learner)
        version = request.snapshot.version if request.snapshot is not None and not refusal else learner.version
        if not refusal:
            log.info("request carried out", target=request.target, request=request.request_id, champion=champion)
        return Decision(request, -1 if boundary is None else boundary, former, champion, version, refusal)


def _refusal(request: ChampionRequest, learner: TargetLearner, serving: str | None) -> str:
    """Return why a request cannot be carried out; empty if it can."""
    if request.action in {"release", "unsplit"}:
        return ""
    if request.snapshot is not None:
        return _flaw(request.snapshot, request.target)
    able = [candidate.name for candidate in learner.candidates if candidate.servable]
    if request.candidate not in able:
        return f"{request.candidate} cannot serve {request.target}; {', '.join(able)} can"
    if not learner.examples:
        return f"no candidate of {request.target} has learned a label yet"
    if request.action == "split" and request.candidate == serving:
        return f"{serving} serves all customers of {request.target} already"
    return ""


def _flaw(snapshot: ModelSnapshot, target: Target) -> str:
    """Return why a version cannot serve a target; empty if it can."""
    if snapshot.target != target:
        return f"version {snapshot.version} of {snapshot.name} is no model of {target}"
    try:
        load(ModelSnapshot.decode(snapshot.model_dump_json().encode()))
    except EbbError as error:
        return error.what
    return ""
