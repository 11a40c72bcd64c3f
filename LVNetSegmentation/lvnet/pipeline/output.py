"""Writing the files of a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ..batch import OUTPUT_SUFFIXES, is_dicom_seg, refuse_overwriting
from ..image_io import IMAGE_SUFFIXES, check_output_path, write_image, write_labels
from ..image_io.dicom_seg import SegSource, open_seg_source, write_dicom_seg

if TYPE_CHECKING:
    from ..inference import Model, Segmentation

#: Maps that can be written beside the labels, each an attribute of :class:`~lvnet.inference.Segmentation`.
MAPS = ("probabilities", "uncertainty")


class Output:
    """The files of one scan's result; constructed before any computation, so that invalid paths fail early.

    Args:
        source: the scan's file or folder.
        target: the file for the labels.
        maps: files for :data:`MAPS`, by name.
        series: the series of a DICOM folder.
        files: the files of the folder that belong to the scan; None takes all.

    Raises:
        LVNetError: the result could not be written there.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        maps: Mapping[str, Path],
        series: Optional[str] = None,
        files: Optional[Sequence[str]] = None,
    ) -> None:
        check_output_path(target, OUTPUT_SUFFIXES)
        for path in maps.values():
            check_output_path(path, IMAGE_SUFFIXES)
        refuse_overwriting([source], [target, *maps.values()])
        self.target, self.maps = target, maps
        self._seg: Optional[SegSource] = open_seg_source(source, series, files) if is_dicom_seg(target) else None

    def write(self, result: Segmentation, model: Model) -> None:
        """Writes every file, each completely or not at all.

        Raises:
            ImageError: one cannot be written.
        """
        if self._seg is None:
            write_labels(result.labels, self.target, model.recipe.classes)
        else:
            checksum = model.checkpoint.checksum if model.checkpoint else ""
            write_dicom_seg(result.labels, self.target, self._seg, model.recipe, checksum)
        for name, path in self.maps.items():
            soft = getattr(result, name)
            if soft is not None:
                write_image(soft, path)
