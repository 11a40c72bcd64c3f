"""Tests the GPU kernels for correctness and measures their speed, in one run of less than eight minutes.

First, the Triton kernels are compared with PyTorch's convolution in double precision, and their launch parameters are
tuned.  Then the time and peak memory of a slab, a whole scan (a phantom) and a training step are measured for LV-Net
as shipped, for the same network in stock PyTorch and under torch.compile, and for V-Net.  Every network runs in its own
process; a failure appears in the table with its reason.  `gpu.sh` runs this from a checkout without installation.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import gpu_card
import gpu_ways
import harness

#: Time limit of one process in seconds; torch.compile compiles for a minute or two.
LIMITS = {"card": 60.0, "proof": 120.0, "tune": 100.0, "way": 150.0}
#: The time limit of a rehearsal on a CPU.
REHEARSAL_LIMIT = 900.0

#: Shapes of the correctness test: one voxel; partial tiles; more channels than a block; the network's stages.
SHAPES = [[1, 1, 1, 1, 1], [2, 5, 3, 7, 19], [1, 48, 2, 9, 33]]
STAGES = [[1, 256, 8, 32, 32], [2, 64, 16, 48, 40]]
CASES = [(5, [*SHAPES, *STAGES]), (3, SHAPES), (7, SHAPES)]
REAL: harness.Task = {
    "rehearse": False, "device": "cuda", "backend": "inductor", "size": [1, 16, 256, 256],
    "vnet_size": [1, 16, 256, 256], "patch": [16, 112, 144], "batches": [4, 16], "repeats": 30, "architecture": {},
    "narrower": 1, "cases": CASES, "kinds": ["float32", "float16", "bfloat16"], "tuning_seconds": 60.0,
}  # fmt: skip
REHEARSED: harness.Task = {
    **REAL, "rehearse": True, "device": "cpu", "backend": "eager", "size": [1, 2, 2, 4], "vnet_size": [1, 16, 16, 16],
    "patch": [2, 2, 2], "batches": [2], "architecture": {"widths": [2, 3], "expansion": 2, "kernel_size": 3},
    "narrower": 16, "cases": [(3, [[1, 1, 1, 1, 1], [1, 2, 2, 2, 3]])], "tuning_seconds": 0.0,
}  # fmt: skip


def measure(task: harness.Task) -> Dict[str, Any]:
    """Runs one job; in a child process."""
    import torch

    torch.set_num_threads(task["threads"])
    if task["rehearse"]:
        gpu_card.pretend()
    jobs = {"card": lambda _: gpu_card.card(), "proof": gpu_card.proof, "tune": gpu_ways.tuned,
            "way": gpu_ways.way}  # fmt: skip
    return jobs[task["job"]](task)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--rehearse", action="store_true", help="tiny, on a CPU, the kernels in Triton's interpreter")
    parser.add_argument("--ways", nargs="+", choices=list(gpu_ways.WAYS), default=list(gpu_ways.WAYS))
    parser.add_argument("--parts", nargs="+", choices=gpu_ways.PARTS, default=list(gpu_ways.PARTS))
    parser.add_argument("--default-launches", action="store_true", help="choose no launches of the kernels")
    parser.add_argument("--slices", type=int, default=280, help="of the phantom, 1 mm each")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    basis = {**(REHEARSED if options.rehearse else REAL), "threads": options.threads}
    extra = {"TRITON_INTERPRET": "1"} if options.rehearse else {}

    def child(job: str, **more: Any) -> Dict[str, Any]:
        left = harness.seconds_left()
        limit = REHEARSAL_LIMIT if options.rehearse else LIMITS[job]
        limit = limit if left is None else min(limit, left)
        return harness.child(__file__, {**basis, "job": job, **more}, options.threads, "default", extra, limit)

    found, failed = harness.in_turns({"card": partial(child, "card")}, 1)
    card = found["card"][0] if found else {}
    if card.get("name") is None and not options.rehearse:
        raise harness.NothingMeasuredError(
            failed.get("card") or f"PyTorch {card['torch']} finds no CUDA card; --rehearse runs on a CPU"
        )
    harness.say("  " + described(card))
    found, left_out = harness.in_turns({"proof": partial(child, "proof")}, 1)
    cases = found["proof"][0]["cases"] if found else []
    harness.say(f"  {sum(case.get('right', False) for case in cases)} of {len(cases)} cases are right")
    tuned: Dict[str, Any] = {}
    if not options.default_launches:
        found, failed = harness.in_turns({"launches": partial(child, "tune")}, 1)
        tuned = found["launches"][0] if found else {"launches": {"failed": failed["launches"]}}
        harness.say("  " + told_of(tuned))
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "ct.mha"
        if "scan" in options.parts:
            harness.say("making the phantom")
            try:
                make_scan(scan, options)
            except Exception as error:  # the other parts need no scan
                harness.say(f"  failed: {error}")
        ways = {way: {"parts": {}, "said": []} for way in options.ways}
        turns = {way: partial(child, "way", way=way, scan=str(scan), parts=options.parts) for way in options.ways}
        measured, failed = harness.in_turns(turns, 1)
        ways.update({way: runs[0] for way, runs in measured.items()})
        # If a process failed, all of its parts are lost: each part is run once more in its own process.
        again = {(way, part): partial(turns[way], parts=[part]) for way in failed for part in options.parts}
        if failed and not harness.stopped() and len(options.parts) > 1:
            singly, failed_parts = harness.in_turns({f"{way}, {part}": work for (way, part), work in again.items()}, 1)
        else:
            singly, failed_parts = {}, {}
        for way, part in again:
            name = f"{way}, {part}"
            if name in singly:
                ways[way]["parts"].update(singly[name][0]["parts"])
                ways[way]["said"] += singly[name][0]["said"]
            else:
                ways[way]["parts"][part] = {"failed": failed_parts.get(name, failed[way])}
    return {
        "card": card,
        "rehearsed": options.rehearse,
        "cases": cases,
        "tuned": tuned,
        "ways": ways,
        "sizes": {key: basis[key] for key in ("size", "patch", "batches")},
        "wrong": wrong(cases, left_out, ways, options.ways),
        "left_out": left_out,
    }


def make_scan(path: Path, options: argparse.Namespace) -> None:
    """Writes the phantom of `pipeline.py`, or a tiny one."""
    if options.rehearse:
        from lvnet.image_io import write_image
        from lvnet.phantom import make_phantom

        write_image(make_phantom(7, size=(8, 8, 8), spacing=(24.0, 24.0, 24.0))[0], path)
        return
    import pipeline

    pipeline.make_scan(path, (options.slices, *pipeline.SIZE[1:]))


def wrong(
    cases: Sequence[Mapping[str, Any]], left_out: Mapping[str, str], ways: Mapping[str, Any], asked: Sequence[str]
) -> List[str]:
    """Errors, one sentence each: kernels with wrong results, or kernels that are not used."""
    faults = [f"the proof failed: {left_out['proof']}"] if "proof" in left_out else []
    for case in cases:
        if not case.get("right"):
            off = case.get("failed") or ", ".join(
                f"{what} {value:.2g} times what rounding explains" for what, value in case["off"].items() if value > 1
            )
            faults.append(f"kernel k={case['k']}, {case['kind']}, {case['shape']}: {off}")
    if "ours" not in asked:
        return faults
    parts = ways["ours"]["parts"]
    slab = parts.get("slab", {})
    if slab.get("kernels") is False:
        faults.append("a slab is computed without the Triton kernels")
    for kind, one in slab.items():
        if isinstance(one, dict) and one.get("right") is False:
            faults.append(f"probabilities of a slab in {kind} are off by {one['off']:.2g}")
    if any(one.get("kernels") is False for one in parts.get("step", {}).values() if isinstance(one, dict)):
        faults.append("a training step is computed without the Triton kernels")
    return faults


def told_of(tuned: Mapping[str, Any]) -> str:
    """Describes the result of tuning the launch parameters."""
    choices = [choice for one in tuned.values() for choice in one.get("choices", [])]
    quicker = [choice["default_seconds"] / choice["seconds"] for choice in choices]
    quicker = [times for times in quicker if times > 1]
    text = f"launches: {len(choices)} classes of shapes tried, {len(quicker)} faster than the default"
    text += f", up to {max(quicker):.2f} times" if quicker else ""
    return "; ".join([text, *(f"{name} failed: {one['failed']}" for name, one in tuned.items() if "failed" in one)])


def described(card: Mapping[str, Any]) -> str:
    """Describes the card in one line."""
    if card.get("name") is None:
        return f"no CUDA card, PyTorch {card.get('torch')}, Triton {card.get('triton')}"
    return (
        f"{card['name']}, {card['memory_gib']} GiB, compute capability {card['capability']}, driver {card['driver']},"
        f" PyTorch {card['torch']}, CUDA {card['cuda']}, cuDNN {card['cudnn']}, Triton {card['triton']}"
    )


def table(result: Mapping[str, Any]) -> str:
    """The card, the result of the correctness test, and one row per measurement."""
    rows: List[Tuple[str, ...]] = []
    for what, key in (("slab", "slab"), ("whole scan", "scan"), ("training step", "step")):
        measured = [(way, line) for way, one in result["ways"].items() for line in _lines(key, one["parts"].get(key))]
        ours = {line[0]: line[1]["seconds"] for way, line in measured if way == "ours" and "seconds" in line[1]}
        for way, (label, one) in measured:
            cells = [f"{what}{', ' if label else ''}{label}", gpu_ways.WAYS[way]]
            if "failed" in one:
                rows.append((*cells, f"failed: {one['failed']}", "-", "-", "-", "-"))
                continue
            times = f"{one['seconds'] / ours[label]:.2f}" if label in ours else "-"
            peak = "-" if one.get("mib") is None else f"{one['mib']:,.0f}"
            low, high = one["range"]
            patches = f"{one['batch'] / one['seconds']:.1f}" if "batch" in one else "-"
            span = f"{1e3 * low:.2f} to {1e3 * high:.2f}"
            rows.append((*cells, f"{1e3 * one['seconds']:.2f}", span, times, peak, patches))
    right = sum(case.get("right", False) for case in result["cases"])
    size, patch = ("x".join(map(str, result["sizes"][key])) for key in ("size", "patch"))
    lines = [
        f"Card: {described(result['card'])}.",
        f"Kernels: {right} of {len(result['cases'])} cases as in double precision.",
        *([told_of(result["tuned"]).capitalize() + "."] if result["tuned"] else []),
        *(f"WRONG: {sentence}." for sentence in result["wrong"]),
        *(f"{gpu_ways.WAYS[way]} said: {line}" for way, one in result["ways"].items() for line in one["said"]),
        f"A slab is {size}, a patch {patch}; a training step is forward, backward and Adam.",
        "",
        harness.markdown(("what", "network", "ms", "range", "times ours", "peak MiB", "patches/s"), rows, result),
    ]
    if result["rehearsed"]:
        lines.append("\nRehearsed on a CPU in Triton's interpreter: the times mean nothing.")
    return "\n".join(lines)


def _lines(part: str, found: Any) -> List[Tuple[str, Dict[str, Any]]]:
    """The contents of each row: a label, and the seconds or the reason why there are none."""
    if not found or "failed" in found:
        return [("", found)] if found else []
    if part == "slab":
        return [(kind, one) for kind, one in found.items() if isinstance(one, dict)]
    if part == "step":
        return [(f"batch {batch}, {one['kind']}", one) for batch, one in found.items()]
    both = [("network only", {**found["network"], "mib": None if "whole" in found else found["mib"]})]
    return both + ([("all stages", {**found["whole"], "mib": found["mib"]})] if "whole" in found else [])


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table, minutes=7.5))
