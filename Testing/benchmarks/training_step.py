"""Time of a training step of LV-Net, forward and backward with the paper's loss: ours and stock PyTorch.

Stock is the same network with PyTorch's own operations, channels_last and the tuned allocator.  It takes less than five
minutes, unless `--minutes` allows more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from functools import partial
from typing import Any, Dict, Mapping

import harness

WAYS = {"ours": {}, "stock": {"LVNET_ACCELERATION": "off"}}


def measure(task: harness.Task) -> Dict[str, Any]:
    """Measures the seconds of the forward pass and of the whole step; runs in a child process."""
    from lvnet.system import let_waiting_threads_sleep

    if "LVNET_ACCELERATION" not in os.environ:
        let_waiting_threads_sleep()  # as our own processes do; stock PyTorch gains nothing from it
    import torch
    from lvnet.acceleration import accelerate
    from lvnet.network import LVNet
    from lvnet_training.loss import deep_supervision_loss

    torch.set_num_threads(task["threads"])
    torch.manual_seed(1)
    device = task["device"]
    network = LVNet(deep_supervision=True).to(device).to(memory_format=torch.channels_last_3d).train()
    accelerate(network, training=True)
    batch, *slab = task["size"]
    x = torch.randn((batch, 1, *slab)).to(device).contiguous(memory_format=torch.channels_last_3d)
    target = torch.randint(0, 2, (batch, *slab)).to(device)
    half = {"": None, "bf16": torch.bfloat16, "fp16": torch.float16}[task["half"]]

    def loss() -> Any:
        precision = contextlib.nullcontext() if half is None else torch.autocast(device.split(":")[0], dtype=half)
        with precision:
            return deep_supervision_loss(*network(x), target)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        loss().backward()

    whole = harness.seconds_of(step, task["repeats"], device=device)
    forward = harness.seconds_of(lambda: loss().detach(), task["repeats"], 0, device)
    return {"seconds": whole, "forward": forward, **layer(network, task)}


def layer(network: Any, task: harness.Task) -> Dict[str, Any]:
    """Seconds of the widest depth-wise convolution alone: forward, and forward plus backward."""
    import torch

    batch, *slab = task["size"]
    shape, device = (batch, 128, *slab), task["device"]
    x = torch.randn(shape).to(device).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    convolution = network.decoder[-1].depthwise[0]
    pull = torch.randn_like(x)

    def both() -> None:
        x.grad = convolution.weight.grad = None
        convolution(x).backward(pull)

    forward = harness.seconds_of(lambda: convolution(x).detach(), task["repeats"], 1, device)
    return {"layer_forward": forward, "layer": harness.seconds_of(both, task["repeats"], 1, device)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=harness.size_of, default=(1, 16, 128, 128), help="default: 1x16x128x128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2, help="counted steps a process, after one that is not")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--half", choices=("bf16", "fp16"), default="", help="autocast to this type")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    if options.quick:
        options.size, options.rounds, options.repeats = (1, 16, 32, 32), 1, 1

    def once(way: str) -> Dict[str, Any]:
        task = {"size": options.size, "repeats": options.repeats, "threads": options.threads,
                "device": options.device, "half": options.half}  # fmt: skip
        return harness.child(__file__, task, options.threads, "tuned", WAYS[way])

    rounds, failed = harness.in_turns({way: partial(once, way) for way in WAYS}, options.rounds)
    if not rounds:
        raise harness.NothingMeasuredError("; ".join(sorted(set(failed.values()))))
    seconds = {way: harness.median(runs) for way, runs in rounds.items()}
    forward = {way: harness.median(runs, "forward") for way, runs in rounds.items()}
    layers = {way: [harness.median(runs, key) for key in ("layer_forward", "layer")] for way, runs in rounds.items()}
    return {
        "layer": {way: {"forward": f, "backward": whole - f} for way, (f, whole) in layers.items()},
        "size": "x".join(map(str, options.size)),
        "device": options.device,
        "half": options.half,
        "seconds": seconds,
        "forward": forward,
        "spread": {way: harness.spread(runs) for way, runs in rounds.items()},
        "ratio": seconds["stock"] / seconds["ours"] if len(seconds) == 2 else None,
        "left_out": failed,
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    rows = []
    for way, seconds in result["seconds"].items():
        low, high = result["spread"][way]
        layer = result["layer"][way]
        times = seconds / result["seconds"]["ours"] if "ours" in result["seconds"] else None
        rows.append((f"LV-Net, {way}", f"{seconds:.3f}", f"{low:.3f} to {high:.3f}", f"{result['forward'][way]:.3f}",
                     "-" if times is None else f"{times:.2f}", f"{1e3 * layer['forward']:.0f} ms",
                     f"{1e3 * layer['backward']:.0f} ms"))  # fmt: skip
    rows += [(f"LV-Net, {way}", f"failed: {why}", "-", "-", "-", "-", "-") for way, why in result["left_out"].items()]
    return harness.markdown(
        (
            "training step",
            f"s a step {result['size']}",
            "range",
            "of it forward",
            "times ours",
            "widest depth-wise layer forward",
            "its backward",
        ),
        rows,
        result,
    )


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table, minutes=4.5))
