"""Tasks of the worker that need neither the network nor PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Mapping

from ..progress import CancelCheck, Progress
from .exchange import LABEL_FILE, PREDICTION_FILE, REFERENCE_FILE, SCAN_FILE, write_array
from .handing import handed_over, place_of


def compare_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """Scores one mask of zeros and ones by another; both lie in the exchange folder.

    Returns:
        `metrics`: what :func:`lvnet.evaluate` gives for one label.
    """
    from ..evaluation import evaluate

    progress(0.0, "comparing")
    prediction = handed_over(request, PREDICTION_FILE, request.get("name") or "the segmentation")
    reference = handed_over(request, REFERENCE_FILE, request.get("reference_name") or "the reference", "reference_")
    resample = bool(request.get("resample"))
    return {"metrics": evaluate(prediction, reference, preset=request["preset"], resample=resample)}


def phantom_task(request: Mapping[str, Any], progress: Progress, cancelled: CancelCheck) -> Dict[str, Any]:
    """Makes a synthetic abdomen and the label of its liver, as files of the exchange folder.

    Returns:
        `spacing`, `origin` and `direction` of both.
    """
    from ..phantom import make_phantom

    scan, label = make_phantom(request["seed"], progress=progress, cancelled=cancelled)
    for volume, file in ((scan, SCAN_FILE), (label, LABEL_FILE)):
        write_array(Path(request["folder"]) / file, volume.array, volume.shape, volume.array.dtype, cancelled)
    return place_of(scan)
