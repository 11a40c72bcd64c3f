"""Any input gives a result or a one-line error; never another error, a crash, or unbounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fuzz_engine
import pytest
from fuzz_engine import fuzz

RUN = Path(__file__).with_name("run.py")


@pytest.mark.parametrize(("target", "least"), [("reader", 100), ("weights", 60), ("protocol", 40), ("config", 60)])
def test_damaged_input_is_read_or_refused_in_one_line(target, least):
    report = fuzz(target, seconds=7.0, seed=20261124, executions=250, least=least)
    assert report["findings"] == []
    # A fuzzer whose inputs are all refused, or all valid, tests nothing.
    assert {"valid", "refused"} <= report["outcomes"].keys(), report


@pytest.mark.slow
@pytest.mark.parametrize("target", ["reader", "weights", "protocol", "config"])
def test_ten_minutes_find_nothing(target):
    done = subprocess.run([sys.executable, str(RUN), target, "--minutes", "10"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)[0]["executions"] > 1000


@pytest.mark.parametrize(
    ("fault", "where", "words"),
    [("raise", "fuzz_targets.py", "ZeroDivisionError"), ("crash", "SIGSEGV", "SIGSEGV"), ("write", "cwd", "wrote"),
     ("memory", "memory", "took"), ("hang", "time", "no answer")],
)  # fmt: skip
def test_the_fuzzer_finds_what_it_is_there_for(fault, where, words, monkeypatch):
    monkeypatch.setattr(fuzz_engine, "PATIENCE", 5.0 if fault == "hang" else 60.0)
    child = fuzz_engine.Child("broken")
    try:
        assert child.run(b"fine") == {"outcome": "valid", "peak_mb": pytest.approx(0, abs=50)}
        answer = child.run(fault.encode())
        assert answer["outcome"] == "finding" and words in answer["what"] and where in answer["where"], answer
        assert child.run(b"fine")["outcome"] == "valid"
    finally:
        child.close()
