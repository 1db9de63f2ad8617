"""The CPU quota of the container or service that this process runs in: control groups of Linux, version 1 and 2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")
"""Where the kernel lists this process's control groups and mounts."""


def cpu_quota(process: Path = PROCESS) -> float | None:
    """Cores' worth of CPU time that this process may use; None without a quota.

    Quotas are nested: the smallest of a group and of all groups above it counts.
    """
    quotas = [quota for folder in _groups(process) if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _quota(group: Path) -> float | None:
    """The quota of one group: `cpu.max` in version 2, `cpu.cfs_quota_us` in version 1."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        quota, period = (group / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else _share(int(quota), int(period))
    with contextlib.suppress(OSError, ValueError):
        return _share(*(int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period")))
    return None


def _share(quota: int, period: int) -> float | None:
    return quota / period if quota > 0 and period > 0 else None


def _groups(process: Path) -> Iterator[Path]:
    """The folders of the groups that can limit this process's CPU time: its own ones, and all above up to their mounts."""
    mounts = _mounts(process)
    for line in _lines(process / "cgroup"):
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        if hierarchy != "0" and "cpu" not in controllers.split(","):
            continue
        version = "cgroup2" if hierarchy == "0" else "cgroup"
        for kind, options, root, mount in mounts:
            if kind == version and (version == "cgroup2" or "cpu" in options):
                # Without a cgroup namespace, the path begins with that of the group which is mounted.
                inside = path.removeprefix(root) if root != "/" and f"{path}/".startswith(f"{root}/") else path
                group = mount / inside.strip("/")
                yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _mounts(process: Path) -> list[tuple[str, list[str], str, Path]]:
    """The mounted hierarchies: file system type, options, which group is mounted, and where."""
    mounts = []
    for line in _lines(process / "mountinfo"):
        fields, _, rest = line.partition(" - ")
        kind = rest.split()
        if len(fields.split()) > 4 and len(kind) > 2 and kind[0] in ("cgroup", "cgroup2"):
            root, mount = fields.split()[3:5]
            mounts.append((kind[0], kind[2].split(","), root, Path(mount)))
    return mounts


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []
