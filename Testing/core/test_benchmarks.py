"""The benchmarks run; their timings are not checked here, since the machine may be busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def benchmark(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, str(ROOT / "Testing" / "benchmarks" / "metrics.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_metrics_benchmark_times_each_tool_and_finds_the_same_numbers():
    done = benchmark("--cases", "quick", "--tools", "LiTS scorer's method", "--json", "-")
    assert done.returncode in (0, 1), done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    ours, peer = case["tools"]
    assert (ours["tool"], peer["tool"]) == ("lvnet", "LiTS scorer's method")
    assert case["reference_ml"] == pytest.approx(1500, rel=0.02)
    for key in ("dice", "assd_mm", "mssd_mm"):
        assert ours[key] == pytest.approx(peer[key], abs=1e-9)
    assert ours["ratio"] == 1
    assert peer["ratio"] == pytest.approx(peer["seconds"] / ours["seconds"])
    # The islands are present: the maximum distance is much larger than that of two similar livers.
    assert ours["mssd_mm"] > 100
    assert done.returncode == (0 if ours["bar_met"] and peer["bar_met"] else 1)


@pytest.mark.slow  # MONAI alone takes several seconds to import
def test_the_metrics_benchmark_prints_a_row_for_every_tool():
    done = benchmark("--cases", "quick", "--medpy")
    assert done.returncode in (0, 1), done.stderr
    rows = [line.split("|")[2].strip() for line in done.stdout.splitlines() if line.startswith("| quick")]
    assert rows == ["lvnet", "LiTS scorer's method", "surface-distance", "MONAI", "MedPy"]
