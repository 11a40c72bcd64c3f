"""`lvnet.segment`: the pipeline for Python users, who pass images and get a result instead of files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Optional

from ..image_io import read_image
from ..image_io.given import given_volume
from ..inference import Model, Segmentation
from ..memory import readable_memory_errors
from ..progress import CancelCheck, Progress, never_cancelled, silent
from ..scanchecks import Finding
from .options import SegmentOptions, refuse_unknown
from .scan import load, segment_volume

#: Settings that a loaded model has already.
_OF_THE_MODEL = ("weights", "device")


def segment(
    scan: Any,
    *,
    model: Optional[Model] = None,
    probabilities: bool = False,
    progress: Progress = silent,
    cancelled: CancelCheck = never_cancelled,
    **settings: Any,
) -> Segmentation:
    """Segments one scan.

    Args:
        scan: a path (file or DICOM folder) or a volume in HU, any orientation and spacing; or a SimpleITK
            image; or a pair of a (z, y, x) array and its (z, y, x) spacing in mm, whose axes run to the
            patient's head, back and left.
        model: from :func:`lvnet.load_model`, to load once and segment often; it replaces `weights` and `device`.
        probabilities: also return the probability map; the whole scan is computed then.
        progress: called with the fraction done and the stage.
        cancelled: called between slabs and stages.
        settings: those of :class:`lvnet.pipeline.SegmentOptions`, by name: `weights`, `device`, `overlap`, `series`,
            `postprocess`, `search`, `threads`.

    Returns:
        The label map on the scan's own grid, with volumes, checks and notes, the first of which are findings of the
        input checks.

    Raises:
        LVNetError: the scan, the weights, the device or a setting cannot be used.
        Cancelled: `cancelled` returned True.
        TypeError: a keyword is not a setting.
    """
    refuse_unknown(settings)
    given = {name: value for name, value in settings.items() if model is None or name not in _OF_THE_MODEL}
    options = SegmentOptions.from_request(given)
    findings: List[Finding] = []
    with readable_memory_errors():
        progress(0.0, "reading the scan")
        volume = given_volume(scan, "the scan", lambda path: read_image(path, series=options.series))
        if model is None:
            progress(0.02, "loading the network")
            model = load(options)
    result, _report = segment_volume(
        volume,
        options,
        model,
        probabilities=probabilities,
        noticed=findings.append,
        progress=progress,
        cancelled=cancelled,
    )
    return replace(result, notes=(*(finding.sentence for finding in findings), *result.notes))
