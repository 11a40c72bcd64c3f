"""What a click costs beside the network: from the call to the segmentation node, with a warm worker.

    python Testing/benchmarks/worker_overhead.py [--size 512 512 150] [--runs 5] [--weights FILE]

Runs on slicer-core, Slicer's real MRML, with the real worker process.  Prints a JSON object: the
seconds of each run, of these the network's own, the difference, the longest time that one poll held
the main thread, and the largest memory of the worker beside the estimate of lvnet.inputcheck.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "LVNetSegmentation")]


def start_slicer_core():
    """As the tests start it."""
    specification = importlib.util.spec_from_file_location("mrml_conftest", ROOT / "Testing" / "mrml" / "conftest.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.start_slicer_core()


def made_scan(size: list, spacing: list):
    """A synthetic abdomen, stretched to the size by nearest neighbours: the voxels' number is what counts."""
    from lvnet.phantom import make_phantom

    array = make_phantom(1)[0].array
    places = [np.linspace(0, n - 1, wanted).round().astype(int) for n, wanted in zip(array.shape, reversed(size))]
    return np.ascontiguousarray(array[np.ix_(*places)]), np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])


def peak_memory(pid: int) -> int:
    """Bytes that a process had resident at most; 0 where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[512, 512, 150])
    parser.add_argument("--spacing", type=float, nargs=3, default=[0.75, 0.75, 2.0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--weights")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    slicer = start_slicer_core()
    from lvnet.checkpoint import load_checkpoint
    from lvnet.inputcheck import memory_needed
    from lvnet.worker.client.job import Callbacks
    from lvnet.worker.client.service import Service
    from LVNetSegmentationLib.segmenting import SegmentJob
    from LVNetSegmentationLib.volumechecks import checkVolumeNode

    array, matrix = made_scan(options.size, options.spacing)
    node = slicer.util.addVolumeFromArray(array, ijkToRAS=matrix, name="ct")
    began = time.perf_counter()
    checkVolumeNode(node)
    check = time.perf_counter() - began
    service = Service()
    settings = {
        "device": options.device, "weights": options.weights, "overlap": None, "postprocess": True, "threads": None,
    }  # fmt: skip
    runs = []
    output = None
    for number in range(options.runs + 1):
        stages = {}

        def note(share, stage, _remaining, stages=stages):
            stages.setdefault(stage, time.perf_counter())

        held = []
        began = time.perf_counter()
        job = SegmentJob(service, node, output, settings, Callbacks(on_progress=note)).start()
        held.append(time.perf_counter() - began)
        while job.is_running():
            before = time.perf_counter()
            job.poll()
            held.append(time.perf_counter() - before)
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        if job.error is not None:
            raise job.error
        output = job.results[0]
        if number == 0:
            first = seconds
            continue
        # Preparing, slabs and the way back to the scan's grid are what the command line does as well.
        network = stages["handing over the result"] - stages["preparing the scan"]
        runs.append({"seconds": seconds, "network": network, "overhead": seconds - network, "held": max(held)})
    memory = peak_memory(service.worker_pid)
    service.shutdown()
    needed = memory_needed(array.shape, tuple(reversed(options.spacing)), load_checkpoint(options.weights).recipe)
    result = {
        "size": options.size,
        "input_check_seconds": round(check, 3),
        "cold_click_seconds": round(first, 2),
        "runs": [{key: round(value, 3) for key, value in run.items()} for run in runs],
        "median_overhead_seconds": round(float(np.median([run["overhead"] for run in runs])), 3),
        "longest_hold_of_the_main_thread_seconds": round(max(run["held"] for run in runs), 3),
        "worker_peak_bytes": memory,
        "estimated_bytes": round(needed),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
