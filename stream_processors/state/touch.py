"""Accepted events on their way into a partition's state."""

from dataclasses import dataclass

from stream_processors.types import Flags, Int8Array, Int64Array, RowIndices


@dataclass(frozen=True)
class Touch:
    """Accepted events of one segment, without a day boundary among them, as columns of equal length."""

    rows: RowIndices
    times: Int64Array
    kinds: Int8Array
    amounts: Int64Array
    discounted: Flags

    def of(self, chosen: Flags) -> "Touch":
        """Return some of the events."""
        return Touch(
            self.rows[chosen], self.times[chosen], self.kinds[chosen], self.amounts[chosen], self.discounted[chosen]
        )
