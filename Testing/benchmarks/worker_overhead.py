"""Time of a second run in Slicer, stage by stage: from the call to the segmentation node, with a warm worker.

Runs on slicer-core, Slicer's real MRML, with the real worker process; only the windows are missing.  The scan is a
synthetic abdomen, resampled to 512 x 512 x 150 voxels of 0.75 x 0.75 x 2 mm.  Each stage has a time limit, valid for
two otherwise idle cores with AVX-512.  The table also shows the longest time that one turn of the event loop blocked
the main thread, and the worker's peak memory with the estimate of lvnet.scanchecks.  It takes less than five minutes,
unless `--minutes` allows more.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import harness
import numpy as np

SIZE, SPACING = (512, 512, 150), (0.75, 0.75, 2.0)
QUICK_SIZE = (64, 64, 40)
#: Time limit of each stage in seconds, in their order.
BARS: Dict[str, float] = {
    "handing over the scan": 0.3,
    "checking the scan": 0.2,
    "looking for the organ": 0.4,
    "preparing the scan": 0.6,
    "segmenting": 1.5,
    "bringing the result to the scan's grid": 0.3,
    "cleaning up": 0.2,
    "checking the result": 0.4,
    "handing over the result": 0.2,
    "writing the node": 0.3,
}
#: Seconds for which one turn may block the main thread, without the time in which other programs ran.
HOLD_BAR = 0.1


def start_slicer_core() -> Any:
    """Starts slicer-core as the tests do."""
    path = harness.ROOT / "Testing" / "mrml" / "conftest.py"
    specification = importlib.util.spec_from_file_location("mrml_conftest", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.start_slicer_core()


def made_scan(size: Tuple[int, int, int], spacing: Tuple[float, float, float]) -> Tuple[np.ndarray, np.ndarray]:
    """A synthetic abdomen, resampled with nearest neighbours: only the number of voxels matters."""
    from lvnet.phantom import make_phantom

    array = make_phantom(1)[0].array
    places = [np.linspace(0, n - 1, wanted).round().astype(int) for n, wanted in zip(array.shape, reversed(size))]
    return np.ascontiguousarray(array[np.ix_(*places)]), np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


def peak_memory(pid: int) -> int:
    """Peak resident memory in bytes of a process and its children; 0 where the system does not report it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    return max([own, *(peak_memory(int(child)) for child in children)])


def waiting() -> float:
    """Seconds that this thread waited while other programs used the processor; 0 if the system does not report it."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def measure(task: harness.Task) -> Dict[str, Any]:
    """One cold click and several warm ones; runs in a child process."""
    slicer = start_slicer_core()
    from lvnet.checkpoint import load_checkpoint
    from lvnet.scanchecks import memory_needed
    from lvnet.worker.client.service import Service

    array, matrix = made_scan(task["size"], task["spacing"])
    node = slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name="ct")
    service = Service()
    settings = {"device": task["device"], "weights": task["weights"], "threads": task["threads"]}
    clicks, output = [], None
    for _ in range(task["runs"] + 1):
        found, output = click(service, node, output, settings)
        clicks.append(found)
    memory = peak_memory(service.worker_pid)
    service.shutdown()
    recipe = load_checkpoint(task["weights"]).recipe
    return {
        "cold": clicks[0]["seconds"],
        "warm": clicks[1:],
        "worker_peak_bytes": memory,
        "estimated_bytes": round(memory_needed(array.shape, tuple(reversed(task["spacing"])), recipe)),
    }


def click(service: Any, node: Any, output: Any, settings: Mapping[str, Any]) -> Tuple[Dict[str, Any], Any]:
    """One run, started like a click on Apply; returns the time of each stage and the node."""
    from lvnet.worker.client.job import Callbacks
    from LVNetSegmentationLib.segmenting import SegmentJob

    began = time.perf_counter()
    marks: List[Tuple[float, str]] = [(began, "handing over the scan")]

    def note(_share: float, stage: str, _remaining: Any) -> None:
        if stage != marks[-1][1]:
            marks.append((time.perf_counter(), stage))

    before = waiting()
    job = SegmentJob(service, node, output, settings, Callbacks(on_progress=note)).start()
    held = [time.perf_counter() - began - (waiting() - before)]
    while job.is_running():
        start, before = time.perf_counter(), waiting()
        collecting = job._collecting is not None
        job.poll()
        held.append(time.perf_counter() - start - (waiting() - before))
        if not collecting and job._collecting is not None:
            marks.append((time.perf_counter(), "writing the node"))
        time.sleep(0.01)
    if job.error is not None:
        raise job.error
    marks.append((time.perf_counter(), "end"))
    stages: Dict[str, float] = {}
    for (start, stage), (end, _) in zip(marks, marks[1:]):
        # The time before the worker's first own stage is the hand-over.
        name = stage if stage in BARS else "handing over the scan"
        stages[name] = stages.get(name, 0.0) + end - start
    return {"seconds": marks[-1][0] - began, "held": max(held), "stages": stages}, job.results[0]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=int, nargs=3, default=SIZE, help="x, y, z; default: 512 512 150")
    parser.add_argument("--spacing", type=float, nargs=3, default=SPACING, help="x, y, z in mm; default: 0.75 0.75 2")
    parser.add_argument("--runs", type=int, default=5, help="warm ones, after a cold one")
    parser.add_argument("--weights")
    parser.add_argument("--device", default="cpu")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    if options.quick:
        options.size, options.runs = QUICK_SIZE, 1
    task = {"size": options.size, "spacing": options.spacing, "runs": options.runs, "threads": options.threads,
            "weights": options.weights, "device": options.device}  # fmt: skip
    found, failed = harness.in_turns({"clicks": partial(harness.child, __file__, task, options.threads)}, 1)
    if failed:
        raise harness.NothingMeasuredError(failed["clicks"])
    (clicks,) = found["clicks"]
    warm = clicks["warm"]
    stages = {name: statistics.median(one["stages"].get(name, 0.0) for one in warm) for name in BARS}
    held = max(one["held"] for one in warm)
    return {
        "size": list(options.size),
        "cold_seconds": clicks["cold"],
        "seconds": statistics.median(one["seconds"] for one in warm),
        "stages": stages,
        "over": [name for name, bar in BARS.items() if stages[name] > bar] + ["hold"] * (held > HOLD_BAR),
        "longest_hold": held,
        "worker_peak_bytes": clicks["worker_peak_bytes"],
        "estimated_bytes": clicks["estimated_bytes"],
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the docs."""
    rows = [(name, f"{seconds:.2f}", f"{BARS[name]:g}") for name, seconds in result["stages"].items()]
    size = " x ".join(map(str, result["size"]))
    rows += [
        ("from the click to the node", f"{result['seconds']:.2f}", f"{sum(BARS.values()):g}"),
        ("the first click of a session", f"{result['cold_seconds']:.2f}", "-"),
        ("longest hold of the main thread", f"{result['longest_hold']:.3f}", f"{HOLD_BAR:g}"),
    ]
    text = harness.markdown((f"a second click on {size}", "s", "bar"), rows, result)
    peak, estimated = (result[key] / 1e6 for key in ("worker_peak_bytes", "estimated_bytes"))
    return f"{text}\nThe worker took {peak:.0f} MB, {estimated:.0f} were estimated."


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table, minutes=4.5))
