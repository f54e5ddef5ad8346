"""Types that the views share with their readers."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

import msgspec

BandName = Literal["low", "medium", "high", "critical"]
"""A risk band as the topics name it."""

Aware = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone: one without cannot be compared with the others."""

IsErased = Callable[[str, datetime], bool]
"""Whether data about a customer, created at that time, has since been erased."""
