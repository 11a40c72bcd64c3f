"""Measures one configuration for `gpu.py`: a slab, a whole scan and a training step, in its own process.

Everything also runs on a CPU, where Triton's interpreter computes the kernels, with tiny sizes and no GPU timing.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import statistics
import time
from dataclasses import asdict, replace
from typing import Any, Callable, ContextManager, Dict, List, Optional, Tuple

import harness
from gpu_card import guarded

#: The configurations to compare, with their names in the table.
WAYS: Dict[str, str] = {
    "ours": "LV-Net (ours)",
    "stock": "LV-Net, stock PyTorch",
    "vnet": "V-Net",
    "compiled": "LV-Net, torch.compile",
    "ours-compiled": "LV-Net (ours), torch.compile",
}
PARTS = ("slab", "scan", "step")
#: After this many seconds, a piece of work is not repeated.
_ENOUGH = 4.0
#: Largest allowed difference of probabilities from the plain network in float32: half precision causes up to 5e-3.
_PROBABILITIES = {"float32": 1e-3, "float16": 2e-2}


def way(task: harness.Task) -> Dict[str, Any]:
    """Measures all parts of one configuration; if one fails, its reason is recorded and the others continue."""
    import torch

    torch.backends.cudnn.benchmark = task["way"] != "ours"
    said = _Messages()
    logging.getLogger("lvnet").addHandler(said)
    parts: Dict[str, Callable[[], Dict[str, Any]]] = {
        "slab": lambda: _slab(task), "scan": lambda: _scan(task), "step": lambda: _step(task)
    }  # fmt: skip
    found = {}
    for name in task["parts"]:
        found[name] = guarded(parts[name])
        if task["device"] != "cpu":
            torch.cuda.empty_cache()
    return {"parts": found, "said": said.lines}


class _Messages(logging.Handler):
    """Collects log messages, for example why kernels are not used."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one message."""
        self.lines.append(record.getMessage())


def tuned(task: harness.Task) -> Dict[str, Any]:
    """Tunes the kernels' launch parameters for a slab and a training step; they are saved on this machine."""
    import torch
    from lvnet.acceleration import accelerate
    from lvnet.acceleration.gpu.tuning import tune
    from lvnet.building import build_network, channels_last

    half, task = _precisions(task)[0], {**task, "way": "ours"}
    model = _model(task)
    slab = torch.zeros((task["size"][0], 1, *task["size"][1:]), device=task["device"])
    network: Any = channels_last(build_network(_architecture(task), True).to(task["device"])).train()
    accelerate(network, training=True)
    patches = torch.randn((task["batches"][-1], 1, *task["patch"])).to(task["device"])
    target = torch.zeros((len(patches), *task["patch"]), dtype=torch.long, device=task["device"])

    def infer() -> None:
        with torch.inference_mode(), _autocast(half, task):
            model.fast(slab)

    def train() -> None:
        with _autocast("bfloat16" if half == "float16" else half, task):
            loss = _loss(network(patches), target)
        loss.backward()

    clock = (lambda work: harness.seconds_of(work, 1, 0)[0]) if task["rehearse"] else None
    # Inference is tuned separately, in case training runs out of memory.
    found: Dict[str, Any] = {}
    for name, work, share in (("slab", infer, 0.4), ("step", train, 0.6)):
        found[name] = guarded(lambda work=work, share=share: {  # type: ignore[misc]
            "choices": [asdict(choice) for choice in tune(work, share * task["tuning_seconds"], clock)]
        })  # fmt: skip
    return found


def _model(task: harness.Task) -> Any:
    """The network of a configuration with its recipe, and the callable that computes it."""
    import torch
    from lvnet.acceleration import accelerate
    from lvnet.building import build_network, channels_last
    from lvnet.inference import Model, load_model

    name, device = task["way"], torch.device(task["device"])
    if name == "vnet" or task["rehearse"]:
        # Ignore messages about V-Net and about tiny networks.
        torch.manual_seed(1)
        recipe = _recipe(task)
        network = channels_last(build_network(recipe.architecture).to(device)).eval()
        model = Model(network, recipe, device, "")
    else:
        model = replace(load_model(None, task["device"]), fast=None)
    compute = accelerate(model.network) if name.startswith("ours") else model.network
    return replace(model, fast=_compiled(compute, task))


def _compiled(network: Any, task: harness.Task) -> Any:
    """The network under torch.compile where the configuration asks for it; our kernels are excluded."""
    import torch
    from lvnet.acceleration.gpu.modules import TritonDepthwiseConv3d

    if not task["way"].endswith("compiled"):
        return network
    kernels = TritonDepthwiseConv3d.forward
    TritonDepthwiseConv3d.forward = torch.compiler.disable(kernels)  # type: ignore[method-assign]
    return torch.compile(network, backend=task["backend"])


def _recipe(task: harness.Task) -> Any:
    from lvnet.checkpoint import load_checkpoint

    recipe = load_checkpoint(None).recipe
    settings = recipe.preprocessing
    if task["rehearse"]:
        settings = replace(settings, slice_spacing=48.0, in_plane_spacing=(48.0, 48.0), search_spacing=None,
                           slab_depth=16 if task["way"] == "vnet" else 2)  # fmt: skip
    return replace(recipe, architecture=_architecture(task), preprocessing=settings, quality=None)


def _architecture(task: harness.Task) -> Any:
    from lvnet.recipe import Architecture

    if task["way"] == "vnet":
        return Architecture(network="vnet", narrower=task["narrower"])
    return Architecture(**task["architecture"])


def _slab(task: harness.Task) -> Dict[str, Any]:
    """Seconds for one slab in every precision, and the difference of our results from those of the plain network."""
    import torch

    model = _model(task)
    size = task["vnet_size" if task["way"] == "vnet" else "size"]
    x = torch.randn((size[0], 1, *size[1:]), generator=torch.Generator().manual_seed(2)).to(model.device)
    found: Dict[str, Any] = {"kernels": _kernels_in(model.fast)}
    wanted = None
    for kind in _precisions(task):
        # Ours uses channels-last memory; for the others the faster format is used.
        best: Optional[Dict[str, Any]] = None
        for layout in ("channels_last",) if task["way"] != "stock" and task["way"] != "vnet" else (
            "channels_last", "contiguous"):  # fmt: skip
            compute, slab = _laid_out(model, x, layout)
            with torch.inference_mode(), _autocast(kind, task):
                seconds = _seconds(lambda c=compute, s=slab: c(s), task)
                one = {**seconds, "mib": _peak(lambda c=compute, s=slab: c(s), task), "layout": layout}
                logits = compute(slab)
            best = one if best is None or one["seconds"] < best["seconds"] else best
        if task["way"] == "ours":
            with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
                wanted = torch.softmax(model.network(x), 1) if wanted is None else wanted
            off = float((torch.softmax(logits.float(), 1) - wanted).abs().max())
            best = {**(best or {}), "off": off, "right": off <= _PROBABILITIES[kind]}
        found[kind] = best
    return found


def _laid_out(model: Any, x: Any, layout: str) -> Tuple[Any, Any]:
    import torch

    if layout == "channels_last":
        return model.fast, x.contiguous(memory_format=torch.channels_last_3d)
    return copy.deepcopy(model.network).to(memory_format=torch.contiguous_format), x.contiguous()


def _kernels_in(network: Any) -> bool:
    """Whether the Triton kernels compute a part of a network."""
    from lvnet.acceleration.gpu.modules import TritonDepthwiseConv3d

    modules = getattr(network, "modules", None)
    return modules is not None and any(isinstance(module, TritonDepthwiseConv3d) for module in modules())


def _scan(task: harness.Task) -> Dict[str, Any]:
    """Seconds for a whole scan: the network with transfer of its slabs, and all stages for LV-Net."""
    from lvnet.image_io import read_image
    from lvnet.inference import run
    from lvnet.pipeline.options import SegmentOptions
    from lvnet.preprocessing import prepare
    from lvnet.slabs import predict

    model = _model(task)
    volume = read_image(task["scan"])
    prepared = prepare(volume, model.recipe.preprocessing, multiple=model.recipe.architecture.divisor)

    def network() -> Any:
        return predict(prepared.array, model)

    found: Dict[str, Any] = {"network": _seconds(network, task), "grid": "x".join(map(str, prepared.array.shape))}
    if task["way"] == "vnet":
        found["mib"] = _peak(network, task)
        return found
    stages: Dict[str, List[float]] = {}
    volumes: Dict[str, float] = {}

    def whole() -> None:
        marks: List[Tuple[float, str]] = []
        result = run(volume, model, SegmentOptions(), progress=lambda _, stage: marks.append(
            (time.perf_counter(), stage)))  # fmt: skip
        taken: Dict[str, float] = {}
        for (begin, stage), (end, _) in zip(marks, marks[1:]):
            taken[stage] = taken.get(stage, 0.0) + end - begin
        for stage, seconds in taken.items():
            stages.setdefault(stage, []).append(seconds)
        volumes.update(result.volumes_ml)

    found["whole"] = _seconds(whole, task)
    found["stages"] = {stage: statistics.median(seconds) for stage, seconds in stages.items()}
    found["mib"] = _peak(whole, task)
    found["volumes_ml"] = volumes
    return found


def _step(task: harness.Task) -> Dict[str, Any]:
    """Seconds for a training step: forward pass with the paper's loss, backward pass, Adam."""
    import torch
    from lvnet.acceleration import accelerate
    from lvnet.building import build_network, channels_last

    vnet = task["way"] == "vnet"
    found: Dict[str, Any] = {}
    for batch in task["batches"] if task["way"] == "ours" else task["batches"][:1]:
        sides = task["vnet_size"][1:] if vnet and task["rehearse"] else task["patch"]
        torch.manual_seed(1)
        network: Any = build_network(_architecture(task), deep_supervision=not vnet)
        network = channels_last(network.to(task["device"])).train()
        if task["way"].startswith("ours"):
            accelerate(network, training=True)
        kernels = _kernels_in(network)
        optimiser = torch.optim.Adam(network.parameters())
        compute = _compiled(network, task)
        x = torch.randn((batch, 1, *sides)).to(task["device"]).contiguous(memory_format=torch.channels_last_3d)
        target = torch.randint(0, 2, (batch, *sides)).to(task["device"])
        kind = "bfloat16" if "float16" in _precisions(task) else "float32"

        def step(x: Any = x, target: Any = target, compute: Any = compute, optimiser: Any = optimiser) -> None:
            optimiser.zero_grad(set_to_none=True)
            with _autocast(kind, task):  # noqa: B023
                out = compute(x)
                loss = _loss(out, target)
            loss.backward()
            optimiser.step()

        one = guarded(lambda work=step: {**_seconds(work, task), "mib": _peak(work, task)})
        found[str(batch)] = {**one, "batch": batch, "kind": kind, "kernels": kernels}
        del network, optimiser, compute, x, target, step
    return found


def _loss(out: Any, target: Any) -> Any:
    """The paper's loss with an auxiliary output for each decoder stage; cross entropy for other networks."""
    from lvnet.network import DEEP_SUPERVISION_WEIGHTS
    from lvnet_training.loss import deep_supervision_loss
    from torch.nn import functional as F  # noqa: N812

    if not isinstance(out, tuple):
        return F.cross_entropy(out, target)
    return deep_supervision_loss(*out, target, DEEP_SUPERVISION_WEIGHTS[-len(out[1]) :])


def _precisions(task: harness.Task) -> List[str]:
    """The precisions that the card supports well."""
    import torch
    from lvnet.acceleration.gpu.precision import HALF_CAPABILITY

    half = task["rehearse"] or torch.cuda.get_device_capability() >= HALF_CAPABILITY
    return ["float16", "float32"] if half else ["float32"]


def _autocast(kind: str, task: harness.Task) -> ContextManager[Any]:
    import torch

    if kind == "float32":
        return contextlib.nullcontext()
    return torch.autocast(task["device"].split(":")[0], dtype=getattr(torch, kind))


def _seconds(work: Callable[[], Any], task: harness.Task) -> Dict[str, Any]:
    """The median of several runs; slow work is repeated less often."""
    if task["rehearse"]:
        times = harness.seconds_of(work, 1, 0, task["device"])
    else:
        # The first run, which compiles, does not count; the second shows how long a run takes.
        (guess,) = harness.seconds_of(work, 1, 1, task["device"])
        repeats = max(3, min(task["repeats"], int(_ENOUGH / max(guess, 1e-4))))
        times = harness.seconds_of(work, repeats, 1, task["device"])
    return {"seconds": statistics.median(times), "range": [min(times), max(times)], "runs": len(times)}


def _peak(work: Callable[[], Any], task: harness.Task) -> Optional[float]:
    """Peak memory allocated by PyTorch in MiB, network included; None on a CPU."""
    if task["device"] == "cpu":
        return None
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20
