"""Time of each part of LV-Net's fast CPU network for one slab, compared with the limits of the processor.

The last column is the fraction of the roofline that each part reaches: the shortest possible time divided by the
measured time.  The shortest possible time is the larger of two: the vector instructions at the peak rate of fused
multiply-adds, and the input and output at the memory bandwidth.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from typing import Any, Callable, Dict, List, Mapping

import harness
import networks
from roofline import Roofline, measure_roofline
from slab_work import Count, Work, of_block, of_doubling, of_halving, of_pointwise, of_stem


class Clock:
    """Records seconds by part; a part is a wrapped callable of the fast network."""

    def __init__(self) -> None:
        self.seconds: Dict[str, List[float]] = defaultdict(list)
        self.work: Dict[str, Work] = {}
        self._pass: Dict[str, float] = defaultdict(float)
        self._counted: Dict[str, Work] = defaultdict(Work)

    def wrap(self, name: str, part: Callable[..., Any], count: Count) -> Callable[..., Any]:
        """Wraps a callable with a clock; `count` gets the same arguments."""

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = part(*arguments)
            self._pass[name] += time.perf_counter() - began
            self._counted[name] = self._counted[name].plus(count(*arguments))
            return result

        return timed

    def end_pass(self) -> None:
        """Ends the timing of one slab."""
        for name, seconds in self._pass.items():
            self.seconds[name].append(seconds)
        self.work = dict(self._counted)
        self._pass.clear()
        self._counted.clear()


def measure(task: harness.Task) -> Dict[str, Any]:
    """Measures the median seconds of every part; runs in a child process."""
    import torch
    from lvnet.acceleration.cpu_inference.network import CPUNetwork
    from lvnet.acceleration.kernels.processor import register_lanes

    networks.keep_pages_as_ours_do("lvnet")
    torch.set_num_threads(task["threads"])
    fast = networks.for_inference("lvnet", networks.prepared("lvnet", "channels_last"))
    if not isinstance(fast, CPUNetwork):
        raise RuntimeError("the fast network is not there")
    clock, stages, lanes = Clock(), fast.stages, register_lanes()
    for name, blocks in (("encoder", fast.encoder), ("decoder", fast.decoder)):
        for i, block in enumerate(blocks):
            blocks[i] = clock.wrap(f"IRB block, {name} {i + 1}", block, of_block(block, lanes))
    stages.stem = clock.wrap("stem, 5x5x5", stages.stem, of_stem(stages.channels, lanes))
    stages.halve = clock.wrap("halving", stages.halve, of_halving(lanes))
    stages.double = clock.wrap("doubling", stages.double, of_doubling(lanes))
    stages.pointwise = clock.wrap("1x1x1 between stages", stages.pointwise, of_pointwise(lanes))
    x = networks.input_of("lvnet", task["size"], "channels_last")
    whole = []
    for number in range(1 + task["repeats"]):
        began = time.perf_counter()
        fast(x)
        passed = time.perf_counter() - began
        clock.end_pass()
        if number:
            whole.append(passed)
    limits = measure_roofline(task["threads"])
    return {
        "whole": statistics.median(whole),
        "parts": {name: statistics.median(times[1:]) for name, times in clock.seconds.items()},
        "work": {name: work._asdict() for name, work in clock.work.items()},
        "roofline": limits._asdict(),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=harness.size_of, default=(1, 16, 256, 256), help="default: 1x16x256x256")
    parser.add_argument("--repeats", type=int, default=7, help="counted passes, after one that is not")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    if options.quick:
        options.size, options.repeats = (1, 16, 32, 32), 1
    task = {"size": options.size, "repeats": options.repeats, "threads": options.threads}
    return {"size": "x".join(map(str, options.size)), **harness.child(__file__, task, options.threads)}


def table(result: Mapping[str, Any]) -> str:
    """The table for the docs."""
    rows, limits = [], Roofline(**result["roofline"])
    parts = {**result["parts"], "the rest": max(0.0, result["whole"] - sum(result["parts"].values()))}
    least = 0.0
    for name, seconds in sorted(parts.items(), key=lambda entry: -entry[1]):
        work = Work(**result["work"].get(name, {}))
        bound = limits.seconds(work.instructions, work.bytes)
        least += bound
        rows.append((name, f"{1e3 * seconds:.1f}", f"{100 * seconds / result['whole']:.0f} %",
                     _number(2e-9 * work.operations), _number(1e-9 * work.instructions), _number(1e-6 * work.bytes),
                     f"{100 * bound / seconds:.0f} %" if bound and seconds else "-"))  # fmt: skip
    attained = f"{100 * least / result['whole']:.0f} %"
    rows.append(("whole slab", f"{1e3 * result['whole']:.1f}", "100 %", "", "", "", attained))
    head = (
        f"part of a slab {result['size']}",
        "ms",
        "share",
        "GFLOP",
        "10^9 vector instructions",
        "MB",
        "of the roofline",
    )
    peak = (
        f"{1e-9 * limits.instructions:.1f} * 10^9 vectors of {limits.lanes} and {1e-9 * limits.bytes:.1f} GB a second"
    )
    return f"{harness.markdown(head, rows, result)}\n\nAt most {peak}."


def _number(value: float) -> str:
    return f"{value:.2f}" if value else "-"


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
