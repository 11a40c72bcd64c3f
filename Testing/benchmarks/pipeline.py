"""Time of `lvnet segment` from the start of its process to the finished file, and of each stage.

The scan is a synthetic phantom of 512 x 512 x 280 voxels of 0.8 x 0.8 x 1.0 mm whose body fills 60 % of the field of
view; it is identical in every run.  The total is measured from outside the process; the times of the stages are those
that the command reports, in separate runs.  It takes less than five minutes, unless `--minutes` allows more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

import harness
import numpy as np

SIZE, SPACING, BODY = (280, 512, 512), (1.0, 0.8, 0.8), 0.6
QUICK_SIZE = (24, 64, 64)
#: A phantom with more slices is generated with half as many voxels along each axis, and each voxel is repeated.
PAINTED_WHOLE = 400


def make_scan(path: Path, size: Tuple[int, int, int], seed: int = 7) -> Dict[str, Any]:
    """Writes the phantom; the patient is scaled until the body fills the fraction BODY of the field of view.

    Returns:
        The fraction of the field that the body fills, mean over slices, and the scale of the patient.
    """
    from lvnet.image_io import write_image
    from lvnet.phantom import make_phantom

    quick = size == QUICK_SIZE
    field = tuple(n * s for n, s in zip(SIZE if quick else size, SPACING))
    coarse = (16, 64, 64)

    def at(scale: float, voxels: Tuple[int, int, int]) -> Any:
        # A smaller field of view of the same patient is equivalent to a larger patient in the same field.
        spacing = tuple(f / (scale * n) for f, n in zip(field, voxels))
        return make_phantom(seed, size=voxels, spacing=spacing)[0]

    low, high = 0.5, 3.0
    for _ in range(12):
        scale = (low * high) ** 0.5
        if body_share(at(scale, coarse).array) < BODY:
            low = scale
        else:
            high = scale
    if size[0] > PAINTED_WHOLE:
        scan = at(scale, (size[0] // 2, size[1] // 2, size[2] // 2))
        array = scan.array.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    else:
        scan = at(scale, size)
        array = scan.array
    spacing = tuple(f / n for f, n in zip(field, array.shape))
    write_image(type(scan)(array, spacing, scan.origin, scan.direction), path)
    return {"body": round(body_share(array), 3), "scale": round(scale, 3), "seed": seed}


def body_share(array: np.ndarray) -> float:
    """Fraction of the voxels inside the body, lungs and bowel gas included."""
    from scipy import ndimage

    step = max(1, array.shape[0] // 16)
    return float(np.mean([ndimage.binary_fill_holes(plane > -300).mean() for plane in array[::step]]))


def measure(task: harness.Task) -> Dict[str, Any]:
    """Seconds by stage, in a child process that runs the command with a clock in place of its progress bar."""
    began = time.perf_counter()
    import lvnet.cli.segment as command
    from lvnet.cli import main

    marks: List[Tuple[float, str]] = [(began, "starting")]

    class Clock:
        """Replaces the progress bar and records times."""

        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> Clock:
            return self

        def __exit__(self, *_: object) -> None: ...

        def __call__(self, share: float, stage: str) -> None:
            if stage != marks[-1][1]:
                marks.append((time.perf_counter(), stage))

    command.ProgressBar = Clock  # type: ignore[attr-defined, assignment, misc]
    code = main(["segment", task["scan"], "-o", task["output"], "--quiet", *task["options"]])
    if code:
        raise SystemExit(code)
    marks.append((time.perf_counter(), "end"))
    stages: Dict[str, float] = {}
    for (start, stage), (end, _) in zip(marks, marks[1:]):
        if stage != "done":
            stages[stage] = stages.get(stage, 0.0) + end - start
    return {"stages": stages}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--scan", type=Path, help="a scan of your own instead of the phantom")
    parser.add_argument("--keep", type=Path, help="write the phantom to this .nii.gz for other runs with --scan")
    parser.add_argument("--slices", type=int, default=SIZE[0], help="of the phantom, 1 mm each; 1000 are a whole body")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", default=".nii.gz", help="of the output")
    parser.add_argument("--beside-whole", action="store_true", help="in turns with the same under --whole")
    parser.add_argument("--segment-options", default="", help="more options for `lvnet segment`, as one word list")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        scan, output = options.scan, Path(folder) / f"liver{options.format}"
        facts: Dict[str, Any] = {}
        if scan is None:
            harness.say("making the phantom")
            scan = options.keep or Path(folder) / "ct.nii.gz"
            facts = make_scan(scan, QUICK_SIZE if options.quick else (options.slices, *SIZE[1:]))
        more = options.segment_options.split()
        command = [sys.executable, "-m", "lvnet", "segment", str(scan), "-o", str(output), "--json", "--quiet", *more]
        environment = harness.environment(options.threads)

        def whole(*searching: str) -> Dict[str, Any]:
            output.unlink(missing_ok=True)
            began = time.perf_counter()
            done = subprocess.run([*command, *searching], env=environment, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            if done.returncode or not output.exists():
                raise harness.MeasurementError(done.stderr.strip() or f"exit code {done.returncode}")
            return {"seconds": seconds, "answer": json.loads(done.stdout)}

        task = {"scan": str(scan), "output": str(output), "options": more}
        stages = partial(harness.child, __file__, task, options.threads)
        # A first run, which is not counted, fills the file cache and the cache of compiled kernels.
        harness.in_turns({"warm-up": whole}, 1)
        turns = {"whole": whole, "stages": stages}
        if options.beside_whole:
            # The same without the organ search: the operations that the search saves, and its cost.
            turns["without a search"] = partial(whole, "--whole")
            task_without = {**task, "options": [*more, "--whole"]}
            turns["stages without"] = partial(harness.child, __file__, task_without, options.threads)
        found, failed = harness.in_turns(turns, rounds)
    if "whole" in failed:
        raise harness.NothingMeasuredError(failed["whole"])
    answer = found["whole"][0]["answer"]
    without = found.get("without a search")
    return {
        "size": "x".join(map(str, answer["size"])),
        "spacing_mm": answer["spacing_mm"],
        "phantom": facts,
        "device": answer["device"],
        "overlap": answer["overlap"],
        "seconds": harness.median(found["whole"]),
        "spread": harness.spread(found["whole"]),
        "stages": by_stage(found.get("stages", [])),
        "without_a_search": {"seconds": harness.median(without), "stages": by_stage(found.get("stages without", []))}
        if without
        else None,
        "input": os.path.basename(str(scan)),
        "left_out": failed,
    }


def by_stage(runs: List[Dict[str, Any]]) -> Dict[str, float]:
    """Median seconds of each stage."""
    seconds: Dict[str, List[float]] = {}
    for one in runs:
        for stage, taken in one["stages"].items():
            seconds.setdefault(stage, []).append(taken)
    return {stage: statistics.median(taken) for stage, taken in seconds.items()}


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    low, high = result["spread"]
    spacing = " x ".join(f"{s:g}" for s in result["spacing_mm"])
    rows = [
        (f"**whole, {result['size']} at {spacing} mm**", f"**{result['seconds']:.1f}**", f"{low:.1f} to {high:.1f}")
    ]
    total = sum(result["stages"].values())
    rows += [(stage, f"{s:.2f}", f"{100 * s / total:.0f} %") for stage, s in result["stages"].items()]
    if result["without_a_search"]:
        other = result["without_a_search"]
        rows.append(("**with `--whole`**", f"**{other['seconds']:.1f}**", f"{other['seconds'] / result['seconds']:.2f}"
                     " times as long"))  # fmt: skip
        rows += [(f"{stage}, with `--whole`", f"{s:.2f}", "") for stage, s in other["stages"].items()]
    return harness.markdown(("`lvnet segment`", "s", "range, or share of the stages"), rows, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table, minutes=4.5))
