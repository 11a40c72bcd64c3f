"""Where the time of one slab goes: every part of LV-Net's fast network on a CPU, with its operations."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from typing import Any, Callable, Dict, List, Mapping

import harness
import networks


class Clock:
    """Seconds by part; a part is a callable of the fast network that was wrapped."""

    def __init__(self) -> None:
        self.seconds: Dict[str, List[float]] = defaultdict(list)
        self.operations: Dict[str, float] = {}
        self._pass: Dict[str, float] = defaultdict(float)
        self._counted: Dict[str, float] = defaultdict(float)

    def wrap(self, name: str, work: Callable[..., Any], operations: Callable[[Any], float]) -> Callable[..., Any]:
        """The same with a clock; `operations` counts multiply-adds from the first argument."""

        def timed(x: Any, *rest: Any) -> Any:
            began = time.perf_counter()
            result = work(x, *rest)
            self._pass[name] += time.perf_counter() - began
            self._counted[name] += operations(x)
            return result

        return timed

    def end_pass(self) -> None:
        """One slab is through."""
        for name, seconds in self._pass.items():
            self.seconds[name].append(seconds)
        self.operations = dict(self._counted)
        self._pass.clear()
        self._counted.clear()


def voxels_of(x: Any) -> float:
    """Voxels of a tensor (D, H, W, C)."""
    return float(x.shape[0] * x.shape[1] * x.shape[2])


def of_block(x: Any) -> float:
    """Multiply-adds of an IRB block, expansion 4 and kernel 5."""
    return voxels_of(x) * (2 * 4 * x.shape[3] ** 2 + 125 * 4 * x.shape[3])


def measure(task: harness.Task) -> Dict[str, Any]:
    """Median seconds of every part, in a child."""
    import torch
    from lvnet.acceleration.cpu_inference.network import CPUNetwork

    networks.keep_pages_as_ours_do("lvnet")
    torch.set_num_threads(task["threads"])
    fast = networks.for_inference("lvnet", networks.prepared("lvnet", "channels_last"))
    if not isinstance(fast, CPUNetwork):
        raise RuntimeError("the fast network is not there")
    clock, stages = Clock(), fast.stages
    for name, blocks in (("encoder", fast.encoder), ("decoder", fast.decoder)):
        for i, block in enumerate(blocks):
            title = f"IRB block, {name} {i + 1}"
            blocks[i] = clock.wrap(title, block, of_block)
    stages.stem = clock.wrap("stem, 5x5x5", stages.stem, lambda x: x[0].numel() * 125.0 * 16)
    stages.halve = clock.wrap("halving", stages.halve, lambda x: 0.0)
    stages.double = clock.wrap("doubling", stages.double, lambda x: 0.0)
    stages.pointwise = clock.wrap("1x1x1 between stages", stages.pointwise, lambda x: 0.0)
    x = networks.input_of("lvnet", task["size"], "channels_last")
    whole = []
    for number in range(1 + task["repeats"]):
        began = time.perf_counter()
        fast(x)
        passed = time.perf_counter() - began
        clock.end_pass()
        if number:
            whole.append(passed)
    return {
        "whole": statistics.median(whole),
        "parts": {name: statistics.median(times[1:]) for name, times in clock.seconds.items()},
        "operations": clock.operations,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options beside the shared ones."""
    parser.add_argument("--size", type=harness.size_of, default=(1, 16, 256, 256), help="default: 1x16x256x256")
    parser.add_argument("--repeats", type=int, default=7, help="counted passes, after one that is not")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """All measurements."""
    if options.quick:
        options.size, options.repeats = (1, 16, 32, 32), 1
    task = {"size": options.size, "repeats": options.repeats, "threads": options.threads}
    return {"size": "x".join(map(str, options.size)), **harness.child(__file__, task, options.threads)}


def table(result: Mapping[str, Any]) -> str:
    """For the docs."""
    rows = []
    parts = {**result["parts"], "the rest": max(0.0, result["whole"] - sum(result["parts"].values()))}
    for name, seconds in sorted(parts.items(), key=lambda entry: -entry[1]):
        operations = result["operations"].get(name, 0.0)
        rate = f"{2e-9 * operations / seconds:.0f}" if operations and seconds else "-"
        rows.append((name, f"{1e3 * seconds:.1f}", f"{100 * seconds / result['whole']:.0f} %",
                     f"{2e-9 * operations:.1f}" if operations else "-", rate))  # fmt: skip
    rows.append(("whole slab", f"{1e3 * result['whole']:.1f}", "100 %", "", ""))
    return harness.markdown((f"part of a slab {result['size']}", "ms", "share", "GFLOP", "GFLOP/s"), rows, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
