"""The result of one comparison, and its JSON form."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Mapping, Optional


@dataclass(frozen=True)
class Metrics:
    """The metrics of a prediction P against a reference R.

    Attributes:
        dice: 2 |P & R| / (|P| + |R|), 1 is perfect.
        voe: volumetric overlap error 1 - |P & R| / |P or R|, 0 is perfect.
        rvd: relative volume difference (|P| - |R|) / |R|, signed; in the preset `chaos` its
            absolute value in percent; nan if the reference is empty and the prediction is not.
        absolute_rvd: ||P| - |R|| / |R| as a fraction in every preset.
        assd_mm: average symmetric surface distance; inf if only one of both has a surface.
        mssd_mm: maximum symmetric surface distance (Hausdorff); inf likewise.
        prediction_ml: volume of the prediction.
        reference_ml: volume of the reference.
        preset: name of the definitions used.
        hd95_mm: 95th percentile of the surface distances, if requested.
        surface_dice: fraction of both surfaces within the tolerance, if requested.
        reasons: why a value is undefined, by the value's name.
    """

    dice: float
    voe: float
    rvd: float
    absolute_rvd: float
    assd_mm: float
    mssd_mm: float
    prediction_ml: float
    reference_ml: float
    preset: str
    hd95_mm: Optional[float] = None
    surface_dice: Optional[float] = None
    reasons: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_dict(self) -> Dict[str, Any]:
        """Plain numbers and strings that make valid JSON.

        A value that is undefined or infinite becomes None and is followed by `<name>_reason`;
        optional metrics that were not requested are omitted.
        """
        plain: Dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "reasons" or value is None:
                continue
            if isinstance(value, float) and not math.isfinite(value):
                plain[name] = None
                plain[f"{name}_reason"] = self.reasons.get(name, "not defined for these masks")
            else:
                plain[name] = value
        return plain
