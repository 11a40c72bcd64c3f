"""Peak memory in inference and in training, which the paper makes a claim about: LV-Net, V-Net and 3D U-Net.

On a CPU, this is how far resident memory rises above its level with PyTorch loaded and no network built, using the
default allocator and the better of both memory formats.  On a GPU, it is the peak memory that PyTorch allocated.  A
training step is the forward pass, the backward pass and Adam; LV-Net's includes its four auxiliary outputs.
"""

from __future__ import annotations

import argparse
import gc
import sys
from functools import partial
from typing import Any, Dict, Mapping

import harness
import networks


def measure(task: harness.Task) -> Dict[str, Any]:
    """Measures peak memory in MiB; runs in a child process."""
    import torch

    torch.set_num_threads(task["threads"])
    device, name = task["device"], task["network"]
    # The memory for loading code and for a first operation is not attributed to the network.
    torch.nn.functional.conv3d(torch.ones(1, 1, 8, 8, 8, device=device), torch.ones(1, 1, 3, 3, 3, device=device))
    gc.collect()
    before = _start(device)
    work = _training(task) if task["mode"] == "training" else _inference(task)
    for _ in range(2):
        work()
    return {"mib": (_peak(device) - before) / 2**20, "network": name}


def _inference(task: harness.Task) -> Any:
    import torch

    network = networks.prepared(task["network"], task["format"], task["device"])
    compute = networks.for_inference(task["network"], network)
    x = networks.input_of(task["network"], task["size"], task["format"], task["device"])

    def work() -> None:
        with torch.inference_mode():
            compute(x)

    return work


def _training(task: harness.Task) -> Any:
    import torch
    from lvnet.acceleration import accelerate
    from lvnet.network import LVNet
    from lvnet_training.loss import deep_supervision_loss
    from torch.nn import functional as F  # noqa: N812

    name, device = task["network"], task["device"]
    network = LVNet(deep_supervision=True) if name.startswith("lvnet") else networks.build(name)
    network = networks.in_format(network.to(device).train(), task["format"], name == "unet")
    accelerate(network, training=True)
    x = networks.input_of(name, task["size"], task["format"], device)
    target = torch.zeros((x.shape[0], *x.shape[2:]), dtype=torch.long, device=device)
    optimiser = torch.optim.Adam(network.parameters())

    def work() -> None:
        out = network(x)
        loss = deep_supervision_loss(*out, target) if isinstance(out, tuple) else F.cross_entropy(out, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return work


def _start(device: str) -> int:
    """Bytes in use now; the peak is measured from here on."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        # Resets the kernel's record of the peak.
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass
    return _status("VmRSS")


def _peak(device: str) -> int:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated()
    return _status("VmHWM")


def _status(key: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key + ":"))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    default = ["lvnet", "lvnet-stock", "vnet", "unet3d"]
    parser.add_argument("--size", type=harness.size_of, default=(1, 16, 256, 256), help="of inference")
    parser.add_argument(
        "--training-size", type=harness.size_of, default=(1, 16, 128, 128), help="default: 1x16x128x128"
    )
    parser.add_argument("--networks", nargs="+", choices=list(networks.TITLES), default=default)
    parser.add_argument("--device", default="cpu", help="cpu (Linux) or cuda")


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    formats = networks.FORMATS
    if options.quick:
        options.size = options.training_size = (1, 16, 32, 32)
        formats = formats[1:]

    def once(name: str, mode: str, memory_format: str) -> Dict[str, Any]:
        size = options.training_size if mode == "training" else options.size
        task = {"network": name, "mode": mode, "format": memory_format, "size": size, "threads": options.threads,
                "device": options.device}  # fmt: skip
        return harness.child(__file__, task, options.threads, "default", networks.EXTRA.get(name))

    peaks: Dict[str, Dict[str, float]] = {}
    skipped: Dict[str, str] = {}
    for mode in ("inference", "training"):
        for name in options.networks:
            found, failed = harness.in_turns({f"{mode}, {name}, {f}": partial(once, name, mode, f) for f in formats}, 1)
            if found:
                peaks.setdefault(name, {})[mode] = min(harness.median(runs, "mib") for runs in found.values())
            else:
                skipped[f"{networks.TITLES[name]} ({mode})"] = next(iter(failed.values()))
    return {
        "size": "x".join(map(str, options.size)),
        "training_size": "x".join(map(str, options.training_size)),
        "device": options.device,
        "mib": peaks,
        "left_out": skipped,
    }


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    rows = []
    ours = result["mib"].get("lvnet", {})
    for name, peaks in result["mib"].items():
        cells = [networks.TITLES[name]]
        for mode in ("inference", "training"):
            peak, mine = peaks.get(mode), ours.get(mode)
            cells += ["-" if peak is None else f"{peak:,.0f}", "-" if not (peak and mine) else f"{peak / mine:.2f}"]
        rows.append(cells)
    rows += [(what, f"left out: {why}", "-", "-", "-") for what, why in result["left_out"].items()]
    head = ("network", f"inference {result['size']}, MiB", "times ours", f"training {result['training_size']}, MiB",
            "times ours")  # fmt: skip
    return harness.markdown(head, rows, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
