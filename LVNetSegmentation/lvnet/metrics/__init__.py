"""The five metrics of the paper (DICE, VOE, RVD, ASSD, MSSD) and two extras, by named definition.

NumPy and SciPy only: importing this package needs neither torch nor SimpleITK.

>>> import numpy as np
>>> from lvnet.metrics import compare
>>> liver = np.zeros((8, 8, 8), bool)
>>> liver[2:6, 2:6, 2:6] = True
>>> compare(liver, liver, (1.5, 0.8, 0.8)).dice
1.0
"""

from __future__ import annotations

from .comparison import compare
from .presets import PRESETS, Preset
from .result import Metrics
from .surface_distances import SurfaceDistances, surface_distances

__all__ = ["PRESETS", "Metrics", "Preset", "SurfaceDistances", "compare", "surface_distances"]
