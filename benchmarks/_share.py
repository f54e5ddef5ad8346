"""CPU quotas: limits processes to a share of one core, by control groups (Linux, as root)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PERIOD_US = 20_000
"""Length of a quota period: a process runs for its share of each, then is throttled until the next."""
_GROUPS = Path("/sys/fs/cgroup")
_OLD = _GROUPS / "cpu"
"""CPU controller of control groups version 1; absent with version 2."""


def can_limit() -> bool:
    """Return whether this process may set CPU quotas."""
    if _OLD.is_dir():
        return os.access(_OLD, os.W_OK)
    control = _GROUPS / "cgroup.subtree_control"
    return os.access(_GROUPS, os.W_OK) and control.exists() and "cpu" in control.read_text().split()


@contextmanager
def limited(processes: list[int], share: float) -> Iterator[None]:
    """Limit each process, all its threads together, to a share of one core."""
    groups = []
    try:
        for process in processes:
            group = (_OLD if _OLD.is_dir() else _GROUPS) / f"ebb-bench-{process}"
            group.mkdir()
            groups.append(group)
            quota = int(share * PERIOD_US)
            if _OLD.is_dir():
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (group / "cgroup.procs").write_text(str(process))
        yield
    finally:
        for group in groups:
            for left in (group / "cgroup.procs").read_text().split():
                (group.parent / "cgroup.procs").write_text(left)
            group.rmdir()
