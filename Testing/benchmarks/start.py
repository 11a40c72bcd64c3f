"""Time of whole commands from the start of the process, beside `import torch` and what a segmentation computes.

Every command runs once before it is measured, so that the kernels are compiled: the second start is what is repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Dict, Mapping

import harness

_PYTHON = [sys.executable, "-m", "lvnet"]
#: Limits that the second start must keep, as multiples of `import torch`.
INFO_LIMIT, SEGMENT_LIMIT = 1.3, 1.6
IMPORT, INFO, SEGMENT = "import torch", "lvnet info", "lvnet segment"


def commands(folder: Path) -> Dict[str, list]:
    """What is measured, by name; the phantom lies in `folder`."""
    scan, result = str(folder / "ct.nii.gz"), str(folder / "liver.seg.nrrd")
    return {
        IMPORT: [sys.executable, "-c", "import torch"],
        "lvnet --help": [*_PYTHON, "--help"],
        INFO: [*_PYTHON, "info"],
        SEGMENT: [*_PYTHON, "segment", scan, "-o", result, "--json", "--quiet"],
    }


def measure(task: harness.Task) -> Dict[str, Any]:
    """Seconds of one command, and those that a segmentation reports for itself; runs in a child process."""
    began = time.perf_counter()
    done = subprocess.run(task["command"], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    own = json.loads(done.stdout)["seconds"] if "--json" in task["command"] else 0.0
    return {"seconds": seconds, "own": own}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--rounds", type=int, default=5)


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    with tempfile.TemporaryDirectory() as folder:
        phantom = [*_PYTHON, "phantom", folder, "--seed", "7", "--quiet"]
        subprocess.run(phantom, env=harness.environment(options.threads), check=True)

        def once(command: list) -> Dict[str, Any]:
            return harness.child(__file__, {"command": command}, options.threads)

        asked = commands(Path(folder))
        for command in asked.values():
            once(command)
        ways = {name: partial(once, command) for name, command in asked.items()}
        found, failed = harness.in_turns(ways, 1 if options.quick else options.rounds)
    return {
        "seconds": {name: harness.median(runs) for name, runs in found.items()},
        "own": harness.median([{"seconds": one["own"]} for one in found.get(SEGMENT, [])]),
        "left_out": failed,
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    seconds, own = result["seconds"], result["own"]
    base = seconds[IMPORT]
    limits = {INFO: INFO_LIMIT * base, SEGMENT: SEGMENT_LIMIT * base + own}
    rows = [
        (name, f"{value:.2f}", f"{value / base:.2f}", f"{limits[name]:.2f}" if name in limits else "-")
        for name, value in seconds.items()
    ]
    text = harness.markdown(("from the second start on", "s", "times `import torch`", "limit, s"), rows, result)
    return f"{text}\n\nThe segmentation itself takes {own:.2f} s; its limit is {SEGMENT_LIMIT} imports more."


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
