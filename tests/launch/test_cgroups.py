"""CPU quotas of containers, read from made-up trees of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.launch import devices
from engine.launch.cgroups import cpu_quota
from engine.train.hardware import set_threads


def system(folder: Path, groups: str, mounts: dict[str, str], files: dict[str, str]) -> Path:
    """A process with these groups; `mounts` are mount points to "type options root", `files` what groups hold."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    process = folder / "self"
    process.mkdir()
    (process / "cgroup").write_text(groups)
    lines = ["22 1 0:20 / / rw - ext4 /dev/sda rw"]
    for number, (mount, facts) in enumerate(mounts.items(), 30):
        kind, options, root = facts.split()
        lines.append(f"{number} 22 0:{number} {root} {folder / mount} rw,nosuid shared:9 - {kind} {kind} {options}")
    (process / "mountinfo").write_text("\n".join(lines) + "\n")
    return process


V2 = {"sys": "cgroup2 rw /"}
V1 = {"sys/memory": "cgroup rw,memory /", "sys/cpu,cpuacct": "cgroup rw,cpu,cpuacct /"}


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        ("0::/\n", V2, {"sys/cpu.max": "200000 100000"}, 2.0),
        ("0::/\n", V2, {"sys/cpu.max": "max 100000"}, None),
        ("0::/\n", V2, {}, None),
        ("0::/a/b\n", V2, {"sys/a/b/cpu.max": "max 100000", "sys/a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", V2, {"sys/a/b/cpu.max": "100000 100000", "sys/a/cpu.max": "400000 100000"}, 1.0),
        ("0::/docker/x\n", {"sys": "cgroup2 rw /docker/x"}, {"sys/cpu.max": "50000 100000"}, 0.5),
        ("0::/elsewhere\n", {"sys": "cgroup2 rw /docker/x"}, {"sys/cpu.max": "300000 100000"}, 3.0),
        ("0::/a\n", V2, {"sys/a/cpu.max": "garbage"}, None),
        ("0::/a\n", V2, {"sys/a/cpu.max": ""}, None),
        ("4:memory:/a\n2:cpu,cpuacct:/a\n0::/\n", V1,
         {"sys/cpu,cpuacct/a/cpu.cfs_quota_us": "200000", "sys/cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, 2.0),
        ("2:cpu,cpuacct:/a/b\n", V1,
         {"sys/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "sys/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
          "sys/cpu,cpuacct/a/cpu.cfs_quota_us": "350000", "sys/cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, 3.5),
        ("2:cpu,cpuacct:/docker/x\n", {"sys/cpu,cpuacct": "cgroup rw,cpu,cpuacct /docker/x"},
         {"sys/cpu,cpuacct/cpu.cfs_quota_us": "100000", "sys/cpu,cpuacct/cpu.cfs_period_us": "50000"}, 2.0),
        ("3:cpuset:/a\n", V1, {"sys/cpu,cpuacct/cpu.cfs_quota_us": "1", "sys/cpu,cpuacct/cpu.cfs_period_us": "1"}, None),
        ("no such line\n", V2, {"sys/cpu.max": "200000 100000"}, None),
    ],
)  # fmt: skip
def test_the_smallest_quota_of_all_groups_counts(
    tmp_path: Path, groups: str, mounts: dict[str, str], files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(system(tmp_path, groups, mounts, files)) == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 64), (2.0, 2), (2.9, 2), (0.5, 1), (128.0, 64)])
def test_threads_follow_the_quota(monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(devices, "cpu_quota", lambda: quota)
    chosen: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", chosen.append)
    assert devices.cores() == cores
    assert set_threads(None) == cores
    assert set_threads(3) == 3
    assert chosen == [cores, 3]
