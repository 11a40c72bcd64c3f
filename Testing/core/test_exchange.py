"""The private folder that passes voxels to and from the worker: unreadable for others, and always removed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from lvnet.errors import Cancelled, ResourceError
from lvnet.worker import exchange
from lvnet.worker.exchange import Exchange, check_space, map_array, remove_folder, remove_stale, write_array
from worker_tools import MODULE


def test_only_its_owner_may_look_into_it(tmp_path):
    made = Exchange(tmp_path)
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.remove()
    assert not made.path.exists()
    assert made.remove()


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint8])
def test_an_array_comes_back_as_it_was_mapped_and_read_only(tmp_path, dtype):
    array = (np.arange(2 * 3 * 5).reshape(2, 3, 5) - 7).astype(dtype)
    turned = array.transpose(2, 0, 1)
    write_array(tmp_path / "a.npy", turned, turned.shape, turned.dtype)
    again = map_array(tmp_path / "a.npy")
    assert np.array_equal(again, turned) and again.dtype == dtype
    assert type(again) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 0


def test_writing_stops_when_it_is_cancelled(tmp_path):
    with pytest.raises(Cancelled):
        write_array(tmp_path / "a.npy", np.zeros((5, 2, 2)), (5, 2, 2), np.dtype(float), lambda: True)


LEFT = """
import sys, os
sys.path.insert(0, {module!r})
from lvnet.worker.exchange import Exchange
made = Exchange({folder!r})
print(made.path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not(tmp_path):
    script = LEFT.format(module=str(MODULE), folder=str(tmp_path))
    command = [sys.executable, "-c", script]
    killed, living = (subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2))
    try:
        left, used = (process.stdout.readline().decode().strip() for process in (killed, living))
        assert remove_stale(tmp_path) == 0
        killed.kill()
        killed.wait()
        own = Exchange(tmp_path)
        assert remove_stale(tmp_path) == 1
        assert not os.path.exists(left) and os.path.exists(used) and own.path.exists()
        own.remove()
    finally:
        for process in (killed, living):
            process.kill()
            process.communicate()


def test_a_folder_without_a_lock_is_removed_once_it_is_old(tmp_path):
    young, old = tmp_path / f"{exchange.PREFIX}young", tmp_path / f"{exchange.PREFIX}old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    assert remove_stale(tmp_path) == 1
    assert young.exists() and not old.exists()


def test_nothing_but_such_a_folder_is_ever_removed(tmp_path):
    other = tmp_path / "mine"
    other.mkdir()
    assert not remove_folder(other)
    assert other.exists()
    (tmp_path / f"{exchange.PREFIX}file").write_text("no folder")
    link = tmp_path / f"{exchange.PREFIX}link"
    link.symlink_to(other)
    (other / "lock").write_text("")
    (other / "kept").write_text("")
    remove_stale(tmp_path)
    remove_folder(link)
    assert (other / "kept").exists()


def test_too_little_space_is_reported_before_anything_is_written(tmp_path):
    check_space(tmp_path, 1)
    with pytest.raises(ResourceError, match="MB are needed"):
        check_space(tmp_path, 10**18)
    check_space(tmp_path / "absent", 10**18)


def test_a_folder_that_another_process_still_holds_is_removed_later(tmp_path, monkeypatch, log_folder):
    """On Windows a memory-mapped file cannot be removed."""
    from lvnet.worker.client import service as module
    from lvnet.worker.client.service import Service

    service = Service(folder=lambda: tmp_path)
    held, stuck = service.make_exchange(), service.make_exchange()
    with monkeypatch.context() as patch:
        patch.setattr(exchange.shutil, "rmtree", lambda *_arguments, **_options: None)
        service.remove_exchange(held)
        patch.setattr(module, "_REMOVE_SECONDS", -1.0)
        service.remove_exchange(stuck)
        assert service.is_busy()
        service.poll()
        assert held.path.exists() and service.is_busy()
    service.poll()
    assert not held.path.exists() and not service.is_busy()
    # What could not be removed is left to the next start.
    assert stuck.path.exists()
    assert remove_stale(tmp_path) == 1
    service.shutdown()
