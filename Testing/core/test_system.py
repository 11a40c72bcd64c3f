"""Free memory as reported by the operating system, and the settings of our own processes."""

from __future__ import annotations

import ctypes
import gc
import sys
import weakref

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


@pytest.fixture
def ours(monkeypatch):
    """Makes this process ours for a test; afterwards Python searches everything for garbage again."""
    monkeypatch.setitem(system._process, "ours", True)
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_what_stays_is_not_searched_for_garbage_while_it_is_imported_or_later(ours):
    with system.staying_imports():
        assert not gc.isenabled()
        module = {"objects": [{"number": number} for number in range(1000)]}
    assert gc.isenabled()
    assert gc.get_freeze_count() > 1000
    assert not any(found is module for found in gc.get_objects())


def test_garbage_is_freed_as_ever_after_the_imports(ours):
    class Node:
        pass

    with system.staying_imports():
        pass
    node = Node()
    node.itself, alive = node, weakref.ref(node)
    del node
    gc.collect()
    assert alive() is None


def test_a_failed_import_leaves_the_search_for_garbage_on(ours):
    with pytest.raises(ImportError), system.staying_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_process_that_searches_for_no_garbage_keeps_to_that(ours):
    gc.disable()
    with system.staying_imports():
        pass
    assert not gc.isenabled()


def test_a_program_that_uses_ours_searches_for_garbage_as_before(ours, monkeypatch):
    monkeypatch.setitem(system._process, "ours", False)
    with system.staying_imports():
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("loaded", [True, False])
def test_only_a_process_with_triton_is_searched_at_its_end(ours, monkeypatch, loaded):
    with system.staying_imports():
        pass
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "triton", object())
    system._thaw()
    assert (gc.get_freeze_count() == 0) is loaded
