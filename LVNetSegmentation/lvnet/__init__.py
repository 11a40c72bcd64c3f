"""LV-Net: a lightweight 3D network that segments the liver on CT.

The core does not depend on Slicer, Qt or the command line.  Importing it does not load PyTorch and takes
a fraction of a second; the names below are loaded on first use.

>>> import lvnet
>>> result = lvnet.segment("ct.nii.gz")            # doctest: +SKIP
>>> result.save("liver.seg.nrrd")                  # doctest: +SKIP
>>> lvnet.evaluate(result.labels, "liver.nii.gz")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__
from .errors import LVNetError
from .lazynames import lazy_names

if TYPE_CHECKING:
    from .evaluation import evaluate
    from .image_io import read_image, read_labels, write_image, write_labels
    from .inference import Segmentation, load_model
    from .pipeline import SegmentOptions, segment_file
    from .pipeline.python import segment
    from .volume import Volume

_LAZY = {
    "read_image": "image_io",
    "read_labels": "image_io",
    "write_image": "image_io",
    "write_labels": "image_io",
    "Segmentation": "inference",
    "Volume": "volume",
    "evaluate": "evaluation",
    "load_model": "inference",
    "SegmentOptions": "pipeline",
    "segment": "pipeline.python",
    "segment_file": "pipeline",
}

__all__ = [
    "LVNetError",
    "SegmentOptions",
    "Segmentation",
    "Volume",
    "__version__",
    "evaluate",
    "load_model",
    "read_image",
    "read_labels",
    "segment",
    "segment_file",
    "write_image",
    "write_labels",
]

__getattr__, __dir__ = lazy_names(globals(), _LAZY)
