"""One network of a comparison: training, export as a checkpoint, evaluation on the test cases."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch
from lvnet.checkpoint import save_checkpoint
from lvnet.complexity import measure
from lvnet.evaluation import evaluate
from lvnet.files import remove_stale, write_whole
from lvnet.inference import load_model
from lvnet.pipeline.python import segment
from lvnet.progress import Progress

from ..batches import steps_of
from ..config import Config
from ..loop import Hardware, fit
from ..materials import Material
from ..networks import build_network
from ..sources import Source
from ..state import Run
from ..validation import load_pairs, validate
from .memory import PeakMemory


def weights_of(folder: Path) -> Path:
    """The checkpoint of a network in its folder."""
    return folder / f"{folder.name}.safetensors"


def train(
    config: Config,
    folder: Path,
    material: Material,
    device: torch.device,
    save_every: int,
    seconds: Optional[float],
    validate_every: int,
    progress: Progress,
    report: Callable[[str], None],
) -> Dict[str, Any]:
    """Trains to the end of the budget, or resumes an interrupted run.

    Writes `trained.json` and a checkpoint: of the epoch with the best validation, or of the last without validation.

    Returns:
        Facts about the run: `patches`, `voxels`, `seconds`, `epoch` (of the checkpoint), `parameters`, `macs` of
        one patch of `macs_input`, `megabytes`.
    """
    done = folder / "trained.json"
    if done.exists() and weights_of(folder).exists():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    run = Run.start(config, torch.device("cpu"))
    if (folder / "last.pt").exists():
        run.restore(folder / "last.pt")
        report(f"{folder.name}: resuming after {patches_of(run)} patches")
    judge = (lambda network: validate(network, config.recipe(), material.pairs)) if material.pairs else None
    fit(run, material.cases, material.phantoms, folder, judge, validate_every, progress,
        lambda line: report(f"{folder.name}: {line}"), hardware=Hardware(device, deterministic=True),
        save_every=save_every, seconds=seconds)  # fmt: skip
    facts: Dict[str, Any] = {"patches": patches_of(run), "voxels": voxels_of(run), "seconds": round(run.seconds, 1)}
    kept = run
    if (folder / "best.pt").exists():
        kept = Run.start(config, torch.device("cpu"))
        kept.restore(folder / "best.pt")
    patch = config.stages[-1].patch
    complexity = measure(build_network(config, training=False), (1, config.architecture.in_channels, *patch))
    facts.update(
        epoch=kept.epoch, parameters=complexity.parameters, macs=complexity.macs,
        macs_input="x".join(map(str, patch)), megabytes=round(complexity.megabytes, 2),
    )  # fmt: skip
    # No date and no time, so that a resumed run writes the same file as an uninterrupted one.
    provenance = {"config_sha256": config.digest, "epochs": kept.epoch, "patches": facts["patches"]}
    save_checkpoint(weights_of(folder), kept.average, config.recipe(provenance))
    write_whole(done, json.dumps(facts, indent=2).encode("utf-8"))
    return facts


def patches_of(run: Run) -> int:
    """Number of patches that a run has seen."""
    return sum(steps * batch for steps, batch, _ in _work(run))


def voxels_of(run: Run) -> int:
    """Number of voxels that a run has seen."""
    return sum(steps * batch * voxels for steps, batch, voxels in _work(run))


def _work(run: Run) -> Sequence[Any]:
    config = run.config
    epochs = [(epoch, steps_of(config, epoch)) for epoch in range(run.epoch)]
    if run.step:
        epochs.append((run.epoch, run.step))
    stages = [(config.stage_of(epoch)[0], steps) for epoch, steps in epochs]
    return [(steps, stage.batch, math.prod(stage.patch)) for stage, steps in stages]


def judge(
    folder: Path, sources: Sequence[Source], config: Config, device: str, overlap: float, progress: Progress
) -> Dict[str, Mapping[str, Any]]:
    """Evaluates the checkpoint on cases with the inference of users; finished cases are not repeated.

    Returns:
        By case the five metrics, with `seconds` and `extra_mib` of its segmentation.
    """
    file = folder / "scores.json"
    scores: Dict[str, Mapping[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    left = [source for source in sources if source.name not in scores]
    if not left:
        return scores
    model = load_model(weights_of(folder), device)
    for number, source in enumerate(left):
        progress(len(scores) / len(sources), f"evaluating {source.name}")
        ((_, scan, label),) = load_pairs([source], config.classes, config.labels)
        if number == 0:
            # One-time work, such as compiling kernels, must not count as a scan's time.
            segment(scan, model=model, overlap=overlap)
        with PeakMemory(model.device) as memory:
            began = time.perf_counter()
            found = segment(scan, model=model, overlap=overlap).labels
            seconds = time.perf_counter() - began
        values = evaluate(found, label, label=config.classes[0].value)
        extra = None if memory.mib is None else round(memory.mib)
        scores[source.name] = {**values, "seconds": round(seconds, 2), "extra_mib": extra}
        write_whole(file, json.dumps(scores, indent=2).encode("utf-8"))
    return scores
