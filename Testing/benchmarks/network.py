"""Inference time of one slab: the speed-up of LV-Net over V-Net and other networks.

Every other network uses its best combination of {contiguous, channels_last} x {default, tuned allocator}: all four are
measured once, then the best is measured alternately with the other networks.  LV-Net is configured as in
`lvnet segment`.  By default, three networks are measured in less than five minutes; `--networks all` with a larger
`--minutes` measures all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from functools import partial
from typing import Any, Dict, Mapping

import harness
import networks


def measure(task: harness.Task) -> Dict[str, Any]:
    """Measures the seconds of one forward pass; runs in a child process."""
    import torch

    networks.keep_pages_as_ours_do(task["network"])
    torch.set_num_threads(task["threads"])
    network = networks.prepared(task["network"], task["format"], task["device"])
    compute = networks.for_inference(task["network"], network)
    x = networks.input_of(task["network"], task["size"], task["format"], task["device"])
    half = torch.autocast("cuda", dtype=torch.float16) if task["half"] else contextlib.nullcontext()
    with torch.inference_mode(), half:
        seconds = harness.seconds_of(lambda: compute(x), task["repeats"], device=task["device"])
    return {"seconds": seconds, "parameters": sum(p.numel() for p in network.parameters())}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=harness.size_of, default=(1, 16, 256, 256), help="default: 1x16x256x256")
    parser.add_argument(
        "--networks", nargs="+", choices=[*networks.TITLES, "all"], default=["lvnet", "lvnet-stock", "vnet"],
        help="default: lvnet lvnet-stock vnet",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="how often the best configurations take turns")
    parser.add_argument("--repeats", type=int, default=2, help="counted passes a process, after one that is not")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--half", action="store_true", help="float16 autocast, on cuda")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    if "all" in options.networks:
        options.networks = list(networks.TITLES)
    if options.quick:
        options.size, options.rounds, options.repeats = (1, 16, 32, 32), 1, 1

    def once(name: str, memory_format: str, allocator: str, repeats: int) -> Dict[str, Any]:
        task = {"network": name, "format": memory_format, "size": options.size, "repeats": repeats,
                "threads": options.threads, "device": options.device, "half": options.half}  # fmt: skip
        return harness.child(__file__, task, options.threads, allocator, networks.EXTRA.get(name))

    pairs = [(f, a) for f in networks.FORMATS for a in harness.ALLOCATORS]
    if options.quick:
        pairs = [pairs[0], pairs[-1]]
    trials: Dict[str, Dict[str, float]] = {}
    best: Dict[str, Any] = {}
    skipped: Dict[str, str] = {}
    kept: Dict[str, Any] = {}
    for name in options.networks:
        # Ours chooses memory format and allocator itself, whatever the options say.
        choices = [("channels_last", "default")] if name in networks.OURS else pairs
        names = {f"{name}, {f}, {a} allocator": (f, a) for f, a in choices}
        found, failed = harness.in_turns({n: partial(once, name, f, a, 1) for n, (f, a) in names.items()}, 1)
        if not found:
            skipped[name] = next(iter(failed.values()))
            continue
        kept.update(found)
        trials[name] = {n: harness.median(runs) for n, runs in found.items()}
        chosen = min(trials[name], key=trials[name].__getitem__)
        best[name] = (*names[chosen], chosen)
    rounds, failed = harness.in_turns(
        {name: partial(once, name, f, a, options.repeats) for name, (f, a, _) in best.items()}, options.rounds
    )
    for name in [name for name in failed if trials.get(name) and failed[name] == harness.stopped()]:
        # If the run was stopped early, the trial measurement is used.
        rounds[name] = kept[best[name][2]]
        del failed[name]
    skipped.update(failed)
    if not rounds:
        raise harness.NothingMeasuredError("; ".join(sorted(set(skipped.values()))))
    seconds = {name: harness.median(runs) for name, runs in rounds.items()}
    return {
        "size": "x".join(map(str, options.size)),
        "device": options.device,
        "half": options.half,
        "trials": trials,
        "best": {name: {"format": f, "allocator": a} for name, (f, a, _) in best.items()},
        "parameters": {name: runs[0]["parameters"] for name, runs in rounds.items()},
        "seconds": seconds,
        "spread": {name: harness.spread(runs) for name, runs in rounds.items()},
        "ratios": {name: value / seconds["lvnet"] for name, value in seconds.items()} if "lvnet" in seconds else {},
        "left_out": skipped,
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    rows = []
    for name, seconds in result["seconds"].items():
        low, high = result["spread"][name]
        setting = result["best"][name]
        how = "its own" if name in networks.OURS else f"{setting['format']}, {setting['allocator']} allocator"
        ratio = result["ratios"].get(name)
        parameters = f"{result['parameters'][name] / 1e6:.2f} M"
        times = "-" if ratio is None else f"{ratio:.2f}"
        rows.append((networks.TITLES[name], parameters, how, f"{seconds:.3f}", f"{low:.3f} to {high:.3f}", times))
    rows += [
        (networks.TITLES[name], "-", f"left out: {why}", "-", "-", "-") for name, why in result["left_out"].items()
    ]
    head = ("network", "parameters", "at its best with", f"s a slab {result['size']}", "range", "times ours")
    return harness.markdown(head, rows, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table, minutes=4.5))
