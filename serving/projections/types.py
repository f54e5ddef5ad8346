"""Types that the views share with their readers."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

BandName = Literal["low", "medium", "high", "critical"]
"""A risk band as the topics name it."""

IsErased = Callable[[str, datetime], bool]
"""Whether data about a customer, created at that time, has since been erased."""
