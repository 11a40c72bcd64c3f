"""Writing DICOM SEG objects with highdicom: segmentations that an archive stores with their source series.

The source series is found again from the path of the scan, by the same rules, so that a
:class:`~lvnet.volume.Volume` need not carry DICOM data.  The identifiers of patient and study are copied from
the source's headers to the same fields of the result, where an archive needs them, and go nowhere else:
libraries that would print invalid values are silenced.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from .._version import __version__
from ..errors import DependencyError, ImageError
from ..progress import silent
from ..recipe import LabelClass, Recipe
from ..volume import Volume
from .dicom_codes import ALGORITHM, MANUFACTURER, algorithm, category_and_kind, tracking_id
from .dicom_geometry import Stack, arrange
from .dicom_header import looks_like_dicom, read_dicom_header
from .dicom_objects import save_object, silenced
from .dicom_series import Series, choose_series
from .names import PathLike, shown, walk_files

#: File name suffix of a DICOM SEG.
SEG_SUFFIX = ".dcm"

# Fields that a SEG must have, possibly empty, and that anonymised sources often lack.
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime",
)  # fmt: skip
_NEEDED = {"StudyInstanceUID": "study identifier", "FrameOfReferenceUID": "frame of reference"}


@dataclass(frozen=True, eq=False)
class SegSource:
    """The series that a scan was read from.

    Attributes:
        name: its name in messages.
        stack: its slices in the order of the scan.
    """

    name: str
    stack: Stack


def open_seg_source(
    path: PathLike,
    series: Optional[str] = None,
    files: Optional[Sequence[str]] = None,
    *,
    what: str = "DICOM SEG",
    instead: str = ".seg.nrrd",
) -> SegSource:
    """Finds the series of a scan again; fails early, before hours of work, if no SEG could be written.

    Args:
        path: the scan: a DICOM folder or one DICOM file.
        series: which series of the folder, as in :func:`~lvnet.image_io.read_image`.
        files: the files of the folder to consider; None takes all.
        what: the object to write, for messages.
        instead: what to write if that is impossible, for messages.

    Raises:
        DependencyError: highdicom is missing.
        ImageError: the path contains no DICOM series, or the series lacks identifiers that a SEG refers to.
    """
    load_highdicom(what, instead)
    name = shown(path)
    plain = Path(path)
    if not plain.is_dir() and not looks_like_dicom(plain):
        raise ImageError(f"{name} is not DICOM: a {what} ({SEG_SUFFIX}) needs a DICOM series; write {instead} instead")
    source = SegSource(name, arrange(name, _series(name, plain, series, files).slices))
    first = _header(source.stack.slices[0].header.path)
    for keyword, words in _NEEDED.items():
        if not first.get(keyword):
            raise ImageError(f"{name}: the series has no {words}, which a {what} needs; write {instead} instead")
    return source


def write_dicom_seg(labels: Volume, path: PathLike, source: SegSource, recipe: Recipe, checksum: str = "") -> Any:
    """Writes a label map as one DICOM SEG with one binary segment per class.

    Frames have the positions of the slices of the series, and each refers to its slice; interpolated
    slices lie between their neighbours.  Slices without any organ are left out.

    Args:
        labels: (z, y, x) label map on the grid of the scan.
        path: the file to write.
        source: from :func:`open_seg_source`, for the path of the scan.
        recipe: of the network; its classes name the segments.
        checksum: of the weights, for the algorithm's description.

    Returns:
        The object, a highdicom.seg.Segmentation, so that other objects can refer to it.

    Raises:
        ImageError: the file cannot be written, or the series' headers contradict each other.
        ValueError: the labels are not on the grid of the series, or contain a value that is not a class.
    """
    slices = source.stack.slices
    plane = (slices[0].header.numbers["rows"], slices[0].header.numbers["columns"])
    if labels.shape != (len(source.stack.layers), *plane):
        raise ValueError(f"labels of {labels.shape} voxels are not on the grid of the series")
    with carried_over(source):
        segmentation = _segmentation(_numbered(labels.array, recipe), source.stack, recipe, checksum)
    save_object(segmentation, path)
    return segmentation


@contextmanager
def carried_over(source: SegSource, what: str = "DICOM SEG", instead: str = ".seg.nrrd") -> Iterator[None]:
    """Context in which an object is made from the series' headers; turns errors caused by these into one line.

    Raises:
        ImageError: the headers cannot be used in such an object.
    """
    with silenced():
        try:
            yield
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            # Headers can violate the standard in countless ways; the error's text may name the patient.
            raise ImageError(
                f"{source.name}: the headers of the series cannot be carried into a {what}"
                f" ({type(error).__name__}); write {instead} instead"
            ) from error


def load_highdicom(what: str = "DICOM SEG", instead: str = ".seg.nrrd") -> Any:
    """Imports the package highdicom.

    Args:
        what: the object that needs it, for the message.
        instead: what can be written without it, for the message.

    Raises:
        DependencyError: it is missing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import highdicom
    except ImportError as error:
        raise DependencyError(
            f'writing a {what} needs the package highdicom: pip install "lvnet-segmentation[dicom]" (Python 3.10 or'
            f" newer), or write {instead} instead"
        ) from error
    return highdicom


def _series(name: str, path: Path, series: Optional[str], files: Optional[Sequence[str]]) -> Series:
    """The series that :func:`~lvnet.image_io.read_image` reads from the same path."""
    if path.is_dir():
        return choose_series(name, walk_files(path) if files is None else files, silent, series=series)
    header = read_dicom_header(str(path))
    is_whole = header is not None and len(header.frames) > 1
    paths = [str(path)] if is_whole else list(walk_files(path.parent, nested=False))
    if str(path) not in paths:
        paths.append(str(path))
    return choose_series(name, paths, silent, wanted=str(path))


def _header(path: str) -> Any:
    import pydicom

    with silenced():
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _numbered(array: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Label values as segment numbers, 1 to the number of classes."""
    values = [entry.value for entry in recipe.classes]
    numbers = np.full(256, 255, np.uint8)
    numbers[0] = 0
    numbers[values] = np.arange(1, len(values) + 1)
    result = np.empty(array.shape, np.uint8)
    for layer, target in zip(array, result):
        np.take(numbers, layer, out=target)
        if len(values) < 255 and target.max() == 255:
            raise ValueError("a label value belongs to none of the classes")
    return result


def _segmentation(array: np.ndarray, stack: Stack, recipe: Recipe, checksum: str) -> Any:
    highdicom = load_highdicom()
    sources = source_headers(stack)
    first = sources[0]
    names = ", ".join(entry.name for entry in recipe.classes)
    result = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=array,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _segment(number, entry, recipe, checksum) for number, entry in enumerate(recipe.classes, 1)
        ],
        series_instance_uid=highdicom.UID(),
        # After the scanner's own series in a list sorted by number.
        series_number=1000 + max(0, int(first.get("SeriesNumber") or 0)),
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=ALGORITHM,
        software_versions=__version__,
        device_serial_number=checksum[:16] or "none",
        content_label="SEGMENTATION",
        content_description=f"Segmentation by LV-Net: {names}"[:64],
        series_description=f"LV-Net: {names}"[:64],
        plane_positions=_positions(stack),
    )
    measures = result.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    # CT headers rarely give the distance of slices; readers that rely on the header would use the thickness instead.
    measures.SpacingBetweenSlices = f"{stack.spacing[2]:.10g}"
    return result


def source_headers(stack: Stack) -> List[Any]:
    """The headers of the slices in order; for an enhanced file its single header."""
    paths: Dict[str, None] = dict.fromkeys(slice_.header.path for slice_ in stack.slices)
    headers = [_header(path) for path in paths]
    for header in headers:
        for keyword in _MAY_BE_EMPTY:
            if keyword not in header:
                setattr(header, keyword, "")
    return headers


def _positions(stack: Stack) -> Optional[List[Any]]:
    """The position of each frame; None if every frame is a slice with a file of its own."""
    single = all(len(slice_.header.frames) == 1 for slice_ in stack.slices)
    if single and [layer.first for layer in stack.layers] == list(range(len(stack.slices))) and all(
        layer.first == layer.second for layer in stack.layers
    ):  # fmt: skip
        return None
    highdicom = load_highdicom()
    places = np.array([slice_.fields.position for slice_ in stack.slices])
    return [
        highdicom.PlanePositionSequence(
            highdicom.CoordinateSystemNames.PATIENT,
            places[layer.first] * (1 - layer.weight) + places[layer.second] * layer.weight,
        )
        for layer in stack.layers
    ]


def _segment(number: int, entry: LabelClass, recipe: Recipe, checksum: str) -> Any:
    highdicom = load_highdicom()
    category, kind = category_and_kind(entry)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=entry.name[:64],
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            source=MANUFACTURER, **algorithm(recipe, checksum)
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=tracking_id(entry),
        display_color=highdicom.color.CIELabColor.from_rgb(*entry.colour),
    )
