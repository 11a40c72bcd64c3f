"""The numbers of the paper's tables, as printed.

Lei et al., "Lightweight V-Net for Liver Segmentation".  Networks have the names of
:data:`lvnet.baselines.NETWORKS`.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

#: Scans of LiTS for training, validation and test (section 3).
SPLIT = (90, 10, 31)

#: Table 1: k, C and eps of the comparison, and the totals in its last row.
TABLE_1_SIZES = {"k": 5, "C": 64, "eps": 4}
TABLE_1_TOTALS = {"irb": 64_768, "vanilla": 512_000}


class Efficiency(NamedTuple):
    """A row of Table 3.

    Attributes:
        parameters: trainable.
        gflops: "operations (GFLOPs)", which are multiply-accumulates.
        megabytes: "storage usage (MB)".
    """

    parameters: int
    gflops: float
    megabytes: float


#: Metrics in the order of Table 2: key in an evaluation, heading, digits that the paper prints.
METRICS: Tuple[Tuple[str, str, int], ...] = (
    ("dice", "DICE", 4), ("voe", "VOE", 4), ("rvd", "RVD", 4), ("assd_mm", "ASSD mm", 4), ("mssd_mm", "MSSD mm", 4),
)  # fmt: skip

_TABLE_2: Dict[str, Tuple[float, float, float, float, float]] = {
    "unet": (0.9399, 0.1114, 0.0322, 5.7985, 123.5763),
    "cenet": (0.9404, 0.1103, 0.0619, 4.1162, 115.4076),
    "unet3d": (0.9400, 0.1113, 0.0142, 2.6173, 36.4352),
    "vnet": (0.9426, 0.1065, 0.0192, 2.4887, 38.2826),
    "lvnet": (0.9543, 0.0856, 0.0156, 1.8705, 29.4960),
}
#: Table 2: means over the 31 test scans of LiTS, by network and metric.
TABLE_2: Dict[str, Dict[str, float]] = {
    name: {key: value for (key, _, _), value in zip(METRICS, values)} for name, values in _TABLE_2.items()
}

#: Table 3, by network.
TABLE_3: Dict[str, Efficiency] = {
    "unet": Efficiency(13_394_242, 123.96, 51.15),
    "cenet": Efficiency(29_003_668, 35.78, 110.77),
    "unet3d": Efficiency(16_320_322, 1032.80, 62.27),
    "vnet": Efficiency(65_173_903, 516.12, 248.69),
    "lvnet": Efficiency(1_659_282, 58.07, 6.56),
}
