"""Tasks of the worker that need neither the network nor PyTorch."""

from __future__ import annotations

from pathlib import Path

from ..progress import CancelCheck, Progress
from .exchange import LABEL_FILE, PREDICTION_FILE, REFERENCE_FILE, SCAN_FILE, write_array
from .handing import handed_over
from .messages.place import Place
from .messages.requests import CompareRequest, PhantomRequest
from .messages.results import CompareResult, PhantomResult


def compare_task(request: CompareRequest, progress: Progress, cancelled: CancelCheck) -> CompareResult:
    """Scores a binary mask against a reference mask; both are in the exchange folder."""
    from ..evaluation import evaluate

    progress(0.0, "comparing")
    name, reference_name = request.name or "the segmentation", request.reference_name or "the reference"
    prediction = handed_over(request.folder, PREDICTION_FILE, request.place, name)
    reference = handed_over(request.folder, REFERENCE_FILE, request.reference_place, reference_name)
    return CompareResult(evaluate(prediction, reference, preset=request.preset, resample=request.resample))


def phantom_task(request: PhantomRequest, progress: Progress, cancelled: CancelCheck) -> PhantomResult:
    """Makes a synthetic abdomen and its liver mask, as files in the exchange folder."""
    from ..phantom import make_phantom

    scan, label = make_phantom(request.seed, progress=progress, cancelled=cancelled)
    for volume, file in ((scan, SCAN_FILE), (label, LABEL_FILE)):
        write_array(Path(request.folder) / file, volume.array, volume.shape, volume.array.dtype, cancelled)
    return PhantomResult(Place.of(scan))
