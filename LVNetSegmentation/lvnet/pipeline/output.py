"""Writing the files of a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ..batch import OUTPUT_SUFFIXES, is_dicom_seg, refuse_overwriting
from ..image_io import IMAGE_SUFFIXES, check_output_path, write_image, write_labels
from ..image_io.dicom_seg import SegSource, open_seg_source, write_dicom_seg
from ..image_io.dicom_sr import INSTEAD_OF_SR, SR, SR_SUFFIX
from ..volume import Volume

if TYPE_CHECKING:
    from ..inference import Model, Segmentation

#: What the measurements of a result may be: plain JSON, or a DICOM SR where the input is DICOM.
MEASUREMENT_SUFFIXES = (INSTEAD_OF_SR, SR_SUFFIX)
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
        measurements: the file for the measurements, if any.

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
        measurements: Optional[Path] = None,
    ) -> None:
        check_output_path(target, OUTPUT_SUFFIXES)
        for path in maps.values():
            check_output_path(path, IMAGE_SUFFIXES)
        if measurements is not None:
            check_output_path(measurements, MEASUREMENT_SUFFIXES)
        others = [*maps.values(), *([] if measurements is None else [measurements])]
        refuse_overwriting([source], [target, *others])
        self.target, self.maps, self.measurements = target, maps, measurements
        self._seg: Optional[SegSource] = None
        if is_dicom_seg(target):
            self._seg = open_seg_source(source, series, files)
        self._sr: Optional[SegSource] = None
        if measurements is not None and measurements.name.lower().endswith(SR_SUFFIX):
            self._sr = self._seg or open_seg_source(source, series, files, what=SR, instead=INSTEAD_OF_SR)

    def write(self, scan: Volume, result: Segmentation, model: Model) -> None:
        """Writes every file, each completely or not at all.

        Args:
            scan: what was segmented.
            result: of it.
            model: the network.

        Raises:
            ImageError: one cannot be written.
        """
        segmentation: Any = None
        if self._seg is None:
            write_labels(result.labels, self.target, model.recipe.classes)
        else:
            checksum = model.checkpoint.checksum if model.checkpoint else ""
            segmentation = write_dicom_seg(result.labels, self.target, self._seg, model.recipe, checksum)
        if self.measurements is not None:
            from .measuring import write_measurements  # imports the evaluation, which most runs do without

            write_measurements(scan, result, model, self.measurements, self._sr, segmentation)
        for name, path in self.maps.items():
            soft = getattr(result, name)
            if soft is not None:
                write_image(soft, path)
