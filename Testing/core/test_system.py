"""Free memory as reported by the operating system."""

from __future__ import annotations

import ctypes

import pytest
from lvnet import system
from lvnet.acceleration.allocator import release_pages


def test_this_computer_has_some_memory_left():
    assert 1e7 < system.available_memory() < 1e14


def test_a_container_counts_with_its_own_limit(monkeypatch):
    numbers = {"/sys/fs/cgroup/memory.max": 5_000_000, "/sys/fs/cgroup/memory.current": 4_000_000}
    monkeypatch.setattr(system.sys, "platform", "linux")
    monkeypatch.setattr(system, "_number", numbers.get)
    assert system.available_memory() == 1_000_000


@pytest.mark.parametrize("platform", ["win32", "darwin", "something"])
def test_a_system_that_does_not_answer_is_no_failure(monkeypatch, platform):
    def fail():
        raise OSError

    for name in ("_windows", "_mac", "_linux"):
        monkeypatch.setattr(system, name, fail)
    monkeypatch.setattr(system.sys, "platform", platform)
    assert system.available_memory() is None


def test_windows_is_asked_through_its_own_structure(monkeypatch):
    class Kernel:
        def GlobalMemoryStatusEx(self, reference):  # noqa: N802
            status = reference._obj
            assert status.length == ctypes.sizeof(status) == 64
            status.free = 123
            return 1

    monkeypatch.setattr(ctypes, "windll", type("Windows", (), {"kernel32": Kernel()}), raising=False)
    assert system._windows() == 123


def test_memory_that_was_kept_can_be_given_back(monkeypatch):
    assert release_pages() in (True, False)
    monkeypatch.setattr("sys.platform", "win32")
    assert release_pages() is False
