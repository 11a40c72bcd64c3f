"""The report about one segmented scan, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ..acceleration import ComputePath
from ..errors import LVNetError
from ..scanchecks import Finding
from ..selfcheck import Check, DoubtfulRegion
from ..volume import Volume
from .options import SegmentOptions

if TYPE_CHECKING:
    from ..inference import Model, Segmentation


@dataclass(frozen=True)
class ScanReport:
    """One scan, how it was segmented, and the outcome.

    Attributes:
        options: the settings that were used.
        input_checks: findings about the scan, the most serious first.
        scan_notes: notes of the reader only.
        notes: notes about the scan and the run, those of the reader first.
        checks: plausibility checks of the result, made without a reference.
        volumes_ml: millilitres by class name.
        expected_dice: `dice`, `low` and `high` by class name, where the weights are calibrated.
        doubtful_regions: where the network was unsure, the largest region first.
        device: the compute device, and `device_reason`, one line that says why it was chosen.
        compute_path: how the network was computed on it, see :class:`lvnet.acceleration.ComputePath`.
        weights: name of the weights, and `weights_sha256`, their checksum.
        size: (x, y, z) voxels.
        spacing_mm: (x, y, z).
        source: the file or folder that was read; None if the scan was passed in memory.
        output: the file with the result, if any; likewise `probabilities`, `uncertainty` and `measurements`.
        seconds: from reading to writing.
    """

    options: SegmentOptions
    input_checks: Tuple[Finding, ...]
    scan_notes: Tuple[str, ...]
    notes: Tuple[str, ...]
    checks: Tuple[Check, ...]
    volumes_ml: Dict[str, float]
    expected_dice: Dict[str, Dict[str, float]]
    doubtful_regions: Tuple[DoubtfulRegion, ...]
    device: str
    device_reason: str
    compute_path: ComputePath
    weights: str
    weights_sha256: Optional[str]
    size: Tuple[int, ...]
    spacing_mm: Tuple[float, ...]
    source: Optional[str] = None
    output: Optional[str] = None
    probabilities: Optional[str] = None
    uncertainty: Optional[str] = None
    measurements: Optional[str] = None
    seconds: Optional[float] = None

    @classmethod
    def of(
        cls, scan: Volume, findings: Tuple[Finding, ...], result: Segmentation, model: Model, options: SegmentOptions
    ) -> ScanReport:
        """The report of a result that has not been written to a file yet."""
        return cls(
            options=options,
            input_checks=findings,
            scan_notes=tuple(scan.notes),
            notes=tuple(result.notes),
            checks=tuple(result.checks),
            volumes_ml=dict(result.volumes_ml),
            expected_dice=result.expected_dice,
            doubtful_regions=result.doubtful.regions if result.doubtful is not None else (),
            device=str(model.device),
            device_reason=model.device_reason,
            compute_path=model.compute_path,
            weights=model.recipe.name,
            weights_sha256=model.checkpoint.checksum if model.checkpoint else None,
            size=tuple(int(length) for length in scan.shape[::-1]),
            spacing_mm=tuple(float(step) for step in scan.spacing[::-1]),
        )

    def to_dict(self) -> Dict[str, Any]:
        """The report as a JSON object."""
        return {
            "input": self.source,
            "output": self.output,
            "probabilities": self.probabilities,
            "uncertainty": self.uncertainty,
            "measurements": self.measurements,
            "volumes_ml": {name: round(value, 3) for name, value in self.volumes_ml.items()},
            "notes": list(self.notes),
            "scan_notes": list(self.scan_notes),
            "input_checks": [finding._asdict() for finding in self.input_checks],
            "checks": [check.to_dict() for check in self.checks],
            "expected_dice": self.expected_dice,
            "doubtful_regions": [region.to_dict() for region in self.doubtful_regions],
            "device": self.device,
            "device_reason": self.device_reason,
            "compute_path": self.compute_path.to_dict(),
            "weights": self.weights,
            "weights_sha256": self.weights_sha256,
            "overlap": self.options.overlap,
            "postprocessing": self.options.postprocess,
            "options": self.options.to_dict(),
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "seconds": None if self.seconds is None else round(self.seconds, 2),
        }


def failure(source: object, error: LVNetError) -> Dict[str, Any]:
    """The JSON object that replaces the report of a scan that failed, among several."""
    return {"input": str(source), "output": None, "error": " ".join(str(error).split())}
