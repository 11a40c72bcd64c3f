"""Segments a scan: runs the network on slabs and resamples its probabilities to the scan's own grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

from .acceleration import ComputePath
from .boxes import Box, bounding_box
from .checkpoint import Checkpoint, load_checkpoint
from .devices import select_device
from .judging import judge, steps_of
from .memory import readable_memory_errors
from .pipeline.options import SegmentOptions
from .postprocessing import postprocess as clean
from .preprocessing import Prepared, prepare
from .progress import CancelCheck, Progress, never_cancelled, raise_if_cancelled, silent
from .quality import Expected
from .recipe import Recipe
from .search import find_part, is_unsure, reaches_out
from .selfcheck import Check, DoubtfulRegions
from .slabs import predict
from .volume import Segment, Volume

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Model:
    """A network ready to run.

    Attributes:
        network: in evaluation mode, on `device`.
        recipe: how it was trained.
        device: the device that it runs on.
        device_reason: one line that says why this device was chosen.
        checkpoint: the file that it was loaded from.
        fast: computes the network's logits faster, from :func:`lvnet.acceleration.fastest`; None uses `network`.
        compute_path: how the logits are computed.
    """

    network: torch.nn.Module
    recipe: Recipe
    device: torch.device
    device_reason: str
    checkpoint: Optional[Checkpoint] = None
    fast: Optional[Callable[[torch.Tensor], torch.Tensor]] = None
    compute_path: ComputePath = field(default_factory=ComputePath)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result of segmenting a scan.

    Attributes:
        labels: uint8 label map on the scan's own grid; 0 is background.
        probabilities: float32 probability of "any class but background" on the scan's own grid; None
            unless requested.
        recipe: of the network; its classes name the values of `labels`.
        notes: sentences about the scan and the run for the user.
        volumes_ml: millilitres by class name.
        checks: plausibility checks of the result, without a reference.
        measured: by label value, the features that estimate the quality, see :func:`lvnet.selfcheck.measure`.
        expected: by label value, the expected DICE; empty if the weights are not calibrated.
        doubtful: the regions in which the network was unsure.
    """

    labels: Volume
    probabilities: Optional[Volume]
    recipe: Recipe
    notes: Tuple[str, ...]
    volumes_ml: Dict[str, float]
    checks: Tuple[Check, ...] = ()
    measured: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    expected: Mapping[int, Expected] = field(default_factory=dict)
    doubtful: Optional[DoubtfulRegions] = None

    @property
    def expected_dice(self) -> Dict[str, Dict[str, float]]:
        """`dice`, `low` and `high` by class name, as JSON values; see :class:`lvnet.quality.Expected`."""
        names = {entry.value: entry.name for entry in self.recipe.classes}
        return {
            names[value]: {key: round(number, 4) for key, number in asdict(likely).items()}
            for value, likely in self.expected.items()
        }

    @property
    def uncertainty(self) -> Optional[Volume]:
        """Uncertainty map, float32 on the scan's own grid: from 0 (sure) to 1 (both answers equally likely).

        It is the entropy in bits of "any class but background"; None unless probabilities were requested.
        """
        if self.probabilities is None:
            return None
        entropy = np.empty(self.probabilities.shape, np.float32)
        for plane, p in zip(entropy, self.probabilities.array):
            likely = np.clip(p, 1e-6, 1 - 1e-6)
            plane[...] = -likely * np.log2(likely) - (1 - likely) * np.log2(1 - likely)
        return self.probabilities.with_array(entropy)

    def save(self, path: Union[str, Path]) -> None:
        """Writes the label map; the suffix gives the format: .nii.gz, .nii, .nrrd, .mha or .seg.nrrd.

        Raises:
            ImageError: the file cannot be written.
        """
        from .files import home
        from .image_io import write_labels

        write_labels(self.labels, home(path), self.recipe.classes)


def load_model(path: Optional[Union[str, Path]] = None, device: str = SegmentOptions.device) -> Model:
    """Loads a checkpoint (the bundled one by default) onto a device.

    Raises:
        CheckpointError: the file cannot be used.
        DeviceError: the device cannot be used.
        ResourceError: the device has too little free memory.
    """
    import torch

    from .acceleration import fastest
    from .building import channels_last

    checkpoint = load_checkpoint(path)
    chosen, reason = select_device(device)
    with readable_memory_errors():
        # Kernels and weights are float32, even if the caller has set another default dtype.
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            network = channels_last(checkpoint.build().to(chosen))
            return Model(network, checkpoint.recipe, chosen, reason, checkpoint, *fastest(network))
        finally:
            torch.set_default_dtype(default)


def run(
    scan: Volume,
    model: Model,
    options: SegmentOptions,
    *,
    probabilities: bool = False,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
) -> Segmentation:
    """Segments a volume with a loaded network; :func:`lvnet.pipeline.segment_volume` has checked it.

    Raises:
        LVNetError: the scan cannot be segmented.
        Cancelled: `cancelled` returned True.
    """
    with readable_memory_errors():
        raise_if_cancelled(cancelled)
        short: List[str] = []
        # A probability map must cover the whole scan, including places far from the organ.
        search = options.search and not probabilities
        prepared, scores, spread = _computed(scan, model, replace(options, search=search), short, progress, cancelled)
        progress(0.90, "bringing the result to the scan's grid")
        labels, soft = _to_scan(scan, prepared, scores, model.recipe, probabilities, cancelled)
        found = labels
        if options.postprocess:
            progress(0.96, "cleaning up")
            labels = clean(labels)
        progress(0.98, "checking the result")
        judged = judge(scan, labels, found, prepared, scores, spread, model.recipe)
        volumes = {
            c.name: float(np.count_nonzero(labels == c.value)) * scan.voxel_volume_ml for c in model.recipe.classes
        }
        notes = [*scan.notes, *short]
        if not labels.any():
            names = ", ".join(c.name for c in model.recipe.classes)
            notes.append(f"nothing was found ({names}): the scan may not show it, or may not be a CT in HU")
        progress(1.0, "done")
        soft_volume = None if soft is None else scan.with_array(soft, notes=())
        named = tuple(Segment(c.value, c.name, c.meaning, (c.value,)) for c in model.recipe.classes)
        result = scan.with_array(labels, notes=(), segments=named)
        return Segmentation(result, soft_volume, model.recipe, tuple(notes), volumes, *judged)


def _computed(
    scan: Volume,
    model: Model,
    options: SegmentOptions,
    notes: List[str],
    progress: Progress,
    cancelled: CancelCheck,
) -> Tuple[Prepared, np.ndarray, np.ndarray]:
    """The scan on the network's grid, its probabilities and their spread, for the part that can contain the organ."""
    settings, divisor = model.recipe.preprocessing, model.recipe.architecture.divisor
    part = None
    if options.search and settings.search_spacing is not None:
        looking = "looking for the organ"
        progress(0.03, looking)
        part = find_part(
            scan, model, options.overlap, lambda done: progress(0.03 + 0.05 * done, looking), cancelled, notes
        )
    progress(0.08, "preparing the scan")
    prepared = prepare(scan, settings, cancelled, None if part is None else part.slices, divisor)
    selection = None if part is None else part.over(prepared, divisor)
    spread = np.zeros((len(model.recipe.classes), *prepared.array.shape), np.float32)
    scores = predict(
        prepared.array,
        model,
        options.overlap,
        lambda done: progress(0.12 + 0.78 * done, "segmenting"),
        cancelled,
        notes,
        spread,
        selection,
    )
    if selection is not None and (
        reaches_out(selection, prepared, scores) or is_unsure(scores, steps_of(scan, prepared), model.recipe)
    ):
        # Free memory before computing the whole scan; its duration is unknown, and progress must not go backwards.
        del prepared, scores, spread
        return _computed(
            scan, model, replace(options, search=False), notes,
            lambda _, stage: progress(0.9, f"{stage}, the whole of it"), cancelled,
        )  # fmt: skip
    return prepared, scores, spread


def _to_scan(
    scan: Volume, prepared: Prepared, scores: np.ndarray, recipe: Recipe, probabilities: bool, cancelled: CancelCheck
) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Labels and, if asked for, probabilities on the scan's own grid."""
    labels = np.zeros(scan.shape, np.uint8)
    soft = np.zeros(scan.shape, np.float32) if probabilities else None
    canonical_labels = prepared.orientation.apply(labels)
    canonical_soft = None if soft is None else prepared.orientation.apply(soft)
    values = np.array([c.value for c in recipe.classes], np.uint8)
    within: Optional[Box] = None
    rows = columns = slice(None)
    if soft is None:
        # Interpolating between background voxels gives background.
        organs = bounding_box(scores[0] < 0.5001)
        if organs is None:
            return labels, None
        within = prepared.reach(organs)
        _, rows, columns = within
    # Background is one minus the other classes, all of which are zero outside the body's box.
    for z, plane in prepared.restore(scores[1:], within):
        if z % 16 == 0:
            raise_if_cancelled(cancelled)
        organ = plane.sum(axis=0) if len(values) > 1 else plane[0]
        best = plane.argmax(axis=0) if len(values) > 1 else None
        top = plane.max(axis=0) if len(values) > 1 else plane[0]
        found = top > 1 - organ
        canonical_labels[z, rows, columns] = np.where(found, values[0] if best is None else values[best], 0)
        if canonical_soft is not None:
            canonical_soft[z, rows, columns] = organ
    return labels, soft
