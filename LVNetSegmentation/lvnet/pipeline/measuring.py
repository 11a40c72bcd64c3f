"""What a result measures, in a file of its own: JSON for programs, a DICOM SR for an archive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from ..evaluation.sides import side_of
from ..image_io.dicom_seg import SegSource
from ..image_io.dicom_sr import Findings, write_dicom_sr
from ..image_io.write import write_json
from ..measurements import measured
from ..volume import Volume

if TYPE_CHECKING:
    from ..inference import Model, Segmentation


def write_measurements(
    scan: Volume,
    result: Segmentation,
    model: Model,
    path: Path,
    source: Optional[SegSource] = None,
    segmentation: Any = None,
) -> None:
    """Writes volume, HU and the self-check of every class.

    Args:
        scan: what was segmented.
        result: of it.
        model: the network.
        path: the file.
        source: the DICOM series of the scan, for a DICOM SR; None writes JSON.
        segmentation: the DICOM SEG that was written of the result, if any.

    Raises:
        ImageError: the file cannot be written.
    """
    numbers = _numbers(scan, result)
    if source is None:
        write_json(numbers, path)
        return
    checksum = model.checkpoint.checksum if model.checkpoint else ""
    write_dicom_sr(_findings(numbers, result), result.labels, path, source, model.recipe, checksum, segmentation)


def _numbers(scan: Volume, result: Segmentation) -> Dict[str, Any]:
    """What `lvnet measure` gives, and what the self-check says."""
    classes = {entry.value: entry.name for entry in result.recipe.classes}
    present = frozenset(value for value in classes if (result.labels.array == value).any())
    side = side_of("prediction", (), present, classes, {})
    return {
        **measured(scan, result.labels, side),
        "checks": [check.to_dict() for check in result.checks],
        "expected_dice": result.expected_dice,
    }


def _findings(numbers: Dict[str, Any], result: Segmentation) -> List[Findings]:
    found = []
    for entry in result.recipe.classes:
        own = next((one for one in numbers["labels"].values() if one["value"] == entry.value), None)
        verdicts = tuple(
            (check.name[len(entry.name) + 1 :], check.verdict)
            for check in result.checks
            if check.verdict is not None and check.name.startswith(f"{entry.name} ")
        )
        found.append(
            Findings(
                entry,
                own["volume_ml"] if own else 0.0,
                own["hu"] if own else None,
                result.expected_dice.get(entry.name),
                verdicts,
            )
        )
    return found
