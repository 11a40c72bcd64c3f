"""A killed command leaves complete files or none; hundreds of scans take no more memory than one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks, and reads /proc")
pytestmark = linux


def results(script: str, *arguments: object) -> list:
    """The output of a program of this folder, which must have found no problems."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def kills(count: int, touches: list) -> None:
    found = results("kill.py", "--kills", count, *touches, "segment", "batch", "training", "export")
    assert [entry["command"] for entry in found] == ["segment", "batch", "training", "export"]
    for entry in found:
        assert entry["kills"] == count and entry["problems"] == [], entry
        # Some kills were before the first output, so that outputs were absent, and some after.
        assert entry["touches"] >= 2 and entry["absent"] > 0, entry
    # There were temporary files to remove.
    assert sum(entry["temporary"] for entry in found) > 0
    assert found[2]["resumed"] >= 1


def test_killed_commands_leave_whole_files_or_none_and_training_resumes_to_the_same_bits():
    kills(1, ["--touches", 2])


@pytest.mark.slow
def test_fifty_kills_of_each_command_and_one_at_every_touch_of_the_file_system():
    kills(50, [])


def test_the_harness_finds_a_command_that_writes_carelessly():
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "kill.py"), "careless", "--kills", "10"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "a.bin has" in json.loads(done.stdout)[0]["problems"][0]


def loaded(count: int, *more: object) -> None:
    for entry in results("load.py", "--count", count, *more):
        assert entry["growth"] < 0.05 and entry["different"] == 0 and entry["problems"] == [], entry
        assert entry["open_files"][1] <= entry["open_files"][0]


def test_twenty_scans_in_one_process_take_no_more_than_few_and_are_what_single_runs_find():
    loaded(20, "--kinds", 2)


@pytest.mark.slow
def test_two_hundred_scans_in_one_batch_and_through_one_worker():
    loaded(200)


@pytest.mark.parametrize(
    ("memory", "files", "words"),
    [(1.0, 0, []), (1.06, 0, ["memory grew"]), (1.0, 1, ["files stayed open"]), (0.9, -1, [])],
)
def test_growth_is_what_is_called_growth(memory, files, words):
    specification = importlib.util.spec_from_file_location("load_of_faults", HERE / "load.py")
    load = importlib.util.module_from_spec(specification)
    before = list(sys.path)
    specification.loader.exec_module(load)
    sys.path[:] = before
    samples = [(400, 9)] * 2 + [(1000, 10)] * 10 + [(round(1000 * memory), 10 + files)] * 8
    problems = load.judged(samples)["problems"]
    assert [word for word in words if not any(word in problem for problem in problems)] == []
    assert len(problems) == len(words)
