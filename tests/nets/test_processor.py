"""What the system says of the processor."""

import os

import pytest

from nets import processor
from nets.processor import count_cores, uses_onednn

THREADS = """\
processor\t: {number}
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu avx2 {flags}

"""


@pytest.fixture
def system(monkeypatch, tmp_path):
    """system(cpuinfo, usable, files): a machine that says this; usable: its processors for us."""
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(processor, "_CGROUP", tmp_path / "cgroup")

    def pretend(cpuinfo, usable=range(64), files=()):
        (tmp_path / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(usable), raising=False)
        for name, text in dict(files).items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")

    return pretend


def cpuinfo(*places, flags=""):
    """Of processors at (socket, core), in their order."""
    return "".join(
        THREADS.format(number=number, socket=socket, core=core, flags=flags)
        for number, (socket, core) in enumerate(places)
    )


FOUR = [(0, 0), (0, 1), (0, 0), (0, 1)]  # two cores of two threads


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("", False), ("avx512f avx512bw", False), ("avx512_vnni", True), ("avx_vnni", True),
     ("avx512_bf16", True), ("amx_bf16", True)],
)  # fmt: skip
def test_onednn_is_used_with_units_for_networks(system, flags, expected):
    system(cpuinfo((0, 0), flags=flags))
    assert uses_onednn() is expected


def test_what_the_system_does_not_say_is_not_known(system, monkeypatch, tmp_path):
    system("Processor: something else\n")
    assert uses_onednn() is None and count_cores() is None
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert uses_onednn() is None and count_cores() is None


@pytest.mark.parametrize(
    ("places", "usable", "expected"),
    [
        (FOUR, range(4), 2),
        (FOUR, (0, 1), 2),
        (FOUR, (1, 3), 1),  # two threads of a core
        ([(0, 0), (0, 1), (1, 0), (1, 1)], range(4), 4),  # two sockets
        (FOUR, (), None),
    ],
)
def test_each_core_counts_once(system, places, usable, expected):
    system(cpuinfo(*places), usable)
    assert count_cores() == expected


def test_some_processors_without_a_place_are_not_counted(system):
    system(cpuinfo(*FOUR) + "processor\t: 4\n\n", range(5))
    assert count_cores() is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # 1.5
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu.max": "much\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "0\n"}, 4),
    ],
)
def test_the_share_of_a_control_group_counts(system, files, expected):
    system(cpuinfo(*((0, core) for core in range(4))), files=files)
    assert count_cores() == expected
