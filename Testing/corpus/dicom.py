"""DICOM folders: damaged, mixed, tilted, compressed, and of other kinds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple

import numpy as np
from lvnet.volume import Volume

from .case import Handled, Kind, Made, Refused
from .dicom_files import HU_OFFSET, enhanced, save, series, slice_dataset, stored
from .scans import ORIGIN, scan, waves

CASES = Kind("DICOM")
_NO_SERIES = "contains no CT series with slice positions"


def _truth(array: Optional[np.ndarray] = None, **place: Any) -> Volume:
    return scan(waves() if array is None else array, **place)


@CASES.case("a regular series", Handled())
def plain_series(folder: Path) -> Made:
    return Made(series(folder / "ct", stored()), _truth())


@CASES.case("the path of one slice of a series", Handled(), worker=None)
def one_file_of_a_series(folder: Path) -> Made:
    return Made(series(folder / "ct", stored()) / "IM0003.dcm", _truth())


@CASES.case("slices whose pixels are truncated", Refused("a slice is damaged or truncated"))
def cut_slice(folder: Path) -> Made:
    made = series(folder / "ct", stored())
    path = made / "IM0004.dcm"
    path.write_bytes(path.read_bytes()[:-30])
    return Made(made)


def _cut_header(name: str, title: str, index: int, notes: Tuple[str, ...], truth: Callable[[], Volume]) -> None:
    def make(folder: Path) -> Made:
        made = series(folder / "ct", stored())
        path = made / f"IM{index:04d}.dcm"
        path.write_bytes(path.read_bytes()[:400])
        return Made(made, truth())

    CASES.case(title, Handled(("left out: 1 x damaged files", *notes)), name=name)(make)


def _between() -> Volume:
    array = waves()
    array[5] = np.rint((array[4].astype(float) + array[6]) / 2)
    return _truth(array)


_cut_header("damaged_first_slice", "the first slice's header is damaged: reported, not silently dropped", 0, (),
            lambda: _truth(waves()[1:], origin=(ORIGIN[0], ORIGIN[1], ORIGIN[2] + 3)))  # fmt: skip
_cut_header("damaged_middle_slice", "a middle slice's header is damaged", 5, ("1 slice is missing",), _between)
_cut_header("damaged_last_slice", "the last slice's header is damaged", 11, (), lambda: _truth(waves()[:-1]))


@CASES.case("an empty file among the slices (a copy that failed)", Handled(("left out: 1 x empty files",)))
def empty_slice(folder: Path) -> Made:
    made = series(folder / "ct", stored())
    (made / "IM0011.dcm").write_bytes(b"")
    return Made(made, _truth(waves()[:-1]))


@CASES.case("all headers damaged", Refused("damaged files"))
def all_headers_damaged(folder: Path) -> Made:
    made = series(folder / "ct", stored())
    for path in made.iterdir():
        path.write_bytes(path.read_bytes()[:400])
    return Made(made)


@CASES.case(
    "headers of 65535 x 65535 pixels with hardly any data", Refused("the size of a slice contradicts its header")
)
def huge_slices(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), Rows=65535, Columns=65535))


@CASES.case(
    "16-bit pixels that are 8-bit according to the header", Refused("the size of a slice contradicts its header")
)
def wrong_bits(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), BitsAllocated=8, BitsStored=8, HighBit=7))


@CASES.case("a named pipe among the slices", Handled())
def pipe_among_the_slices(folder: Path) -> Made:
    made = series(folder / "ct", stored())
    os.mkfifo(made / "AAAA")
    return Made(made, _truth())


@CASES.case("rescale slope 2, intercept -1000, signed pixels", Handled())
def rescale(folder: Path) -> Made:
    stored = (waves() // 2 + 500).astype(np.int16)
    return Made(
        series(folder / "ct", stored, RescaleSlope="2", RescaleIntercept="-1000"),
        _truth((stored.astype(int) * 2 - 1000).astype(np.int16)),
    )


@CASES.case("a different rescale slope in every slice", Handled())
def rescale_per_slice(folder: Path) -> Made:
    slopes = 1 + np.arange(12) / 4
    made = series(folder / "ct", stored(), each=lambda index: {"RescaleSlope": f"{slopes[index]:g}"})
    return Made(made, _truth((stored() * slopes[:, None, None] - HU_OFFSET).astype(np.float32)))


@CASES.case("a rescale slope that is not a number", Refused("rescale slope or intercept of a slice is not a number"))
def rescale_not_finite(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), RescaleSlope="1e400"))


@CASES.case("no rescale at all: stored values are used as HU", Handled())
def no_rescale(folder: Path) -> Made:
    stored = waves().astype(np.int16)
    return Made(series(folder / "ct", stored, RescaleSlope=None, RescaleIntercept=None), _truth())


@CASES.case("12 of 16 bits stored", Handled())
def twelve_bits(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), BitsStored=12, HighBit=11), _truth())


@CASES.case("MONOCHROME1: the display is inverted, the HU are not", Handled(("MONOCHROME1",)))
def monochrome1(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), PhotometricInterpretation="MONOCHROME1"), _truth())


@CASES.case("file names and instance numbers in reversed order", Handled())
def reversed_order(folder: Path) -> Made:
    heights = [3.0 * (11 - index) for index in range(12)]
    return Made(series(folder / "ct", stored()[::-1], heights=heights), _truth())


@CASES.case("another patient position (feet first, prone)", Handled())
def feet_first_prone(folder: Path) -> Made:
    direction = (-1, 0, 0, 0, 1, 0, 0, 0, -1)
    made = series(folder / "ct", stored(), orientation=(-1, 0, 0, 0, 1, 0))
    return Made(made, _truth(direction=direction))


@CASES.case("two slices missing: interpolated between their neighbours", Handled(("2 slices are missing",)))
def missing_slices(folder: Path) -> Made:
    array = waves()
    keep = [index for index in range(12) if index not in (4, 8)]
    for index in (4, 8):
        array[index] = np.rint((array[index - 1].astype(float) + array[index + 1]) / 2)
    made = series(folder / "ct", stored()[keep], heights=[3.0 * index for index in keep])
    return Made(made, _truth(array))


@CASES.case("two slices duplicated", Handled(("2 slices at duplicate positions",)))
def duplicate_slices(folder: Path) -> Made:
    made = series(folder / "ct", stored())
    for index in (3, 7):
        shutil.copy(made / f"IM{index:04d}.dcm", made / f"copy{index}.dcm")
    return Made(made, _truth())


@CASES.case("all slices at one position", Handled(("the scan is a single slice", "11 slices at duplicate positions")))
def all_at_one_place(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), heights=[0.0] * 12), _truth(waves()[:1]))


@CASES.case("slices too uneven for a regular grid", Refused("too uneven for a regular grid"))
def uneven_slices(folder: Path) -> Made:
    heights = [0, 0.02, 0.04, 0.06, 0.08, *range(30, 37)]
    return Made(series(folder / "ct", stored(), heights=heights))


@CASES.case("slices a light year apart", Refused("m large; correct the voxel spacing"))
def slices_far_apart(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), heights=[1e14 * index for index in range(12)]))


@CASES.case("gantry tilt of 15 degrees", Handled(("gantry tilt of 15.0 degrees",)))
def gantry_tilt(folder: Path) -> Made:
    made = series(folder / "ct", stored(), shift=(0.0, float(np.tan(np.radians(15)))))
    return Made(made, _truth())


@CASES.case(
    "several series in one folder: the largest is used", Handled(("series 2 was chosen from 3 scans, the largest",))
)
def mixed_series(folder: Path) -> Made:
    series(folder / "ct", stored()[:4], prefix="A", SeriesInstanceUID="1.2.3.4.1", SeriesNumber=1)
    series(folder / "ct", stored(), prefix="B", SeriesInstanceUID="1.2.3.4.2", SeriesNumber=2)
    series(folder / "ct", stored()[:7], prefix="C", SeriesInstanceUID="1.2.3.4.3", SeriesNumber=3)
    return Made(folder / "ct", _truth())


@CASES.case("CT, MR and a structure set in one folder", Handled(("left out: 13 x other modalities",)))
def mixed_modalities(folder: Path) -> Made:
    series(folder / "ct", stored())
    series(folder / "ct", stored(), prefix="MR", SeriesInstanceUID="1.2.3.4.7", Modality="MR")
    structures = slice_dataset(stored()[0], (0, 0, 0), Modality="RTSTRUCT", Rows=None, Columns=None)
    del structures.PixelData
    save(structures, folder / "ct" / "rs.dcm")
    return Made(folder / "ct", _truth())


@CASES.case("localizers among the slices", Handled(("left out: 3 x localizers",)))
def localizers(folder: Path) -> Made:
    series(folder / "ct", stored())
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    series(folder / "ct", stored()[:3], prefix="LOC", SeriesInstanceUID="1.2.3.4.8", ImageType=kind)
    return Made(folder / "ct", _truth())


@CASES.case("nothing but localizers", Refused("12 x localizers"))
def localizers_only(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))


@CASES.case("a DICOM folder of MR", Refused(f"{_NO_SERIES} (12 x other modalities)"))
def mr_folder(folder: Path) -> Made:
    return Made(series(folder / "mr", stored(), Modality="MR"))


@CASES.case("a DICOM folder of PET", Refused(f"{_NO_SERIES} (12 x other modalities)"))
def pet_folder(folder: Path) -> Made:
    return Made(series(folder / "pet", stored(), Modality="PT"))


@CASES.case("slices with palette colours", Refused("12 x colour images"))
def palette(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), PhotometricInterpretation="PALETTE COLOR"))


@CASES.case("slices without a position", Refused("12 x images without a position"))
def no_positions(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), ImagePositionPatient=None))


@CASES.case("invalid orientations", Refused("12 x images without a position"))
def no_axes(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))


@CASES.case("a pixel spacing of zero", Refused("is not positive; correct the file's header"))
def pixel_spacing_zero(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), PixelSpacing=["0", "2"]))


@CASES.case("enhanced CT: all frames in one file", Handled())
def enhanced_ct(folder: Path) -> Made:
    order = [3, 1, 0, 2, 6, 5, 4, 11, 10, 9, 8, 7]
    enhanced(folder / "ct" / "e.dcm", stored()[order], [3.0 * index for index in order])
    return Made(folder / "ct", _truth())


@CASES.case("enhanced CT, a different rescale in every frame", Handled())
def enhanced_ct_with_rescales(folder: Path) -> Made:
    slopes = 1 + np.arange(12)[:, None, None] / 4
    enhanced(folder / "ct" / "e.dcm", stored(), [3.0 * index for index in range(12)], rescale_each=True)
    return Made(folder / "ct", _truth((stored() * slopes - HU_OFFSET).astype(np.float32)))


@CASES.case("many frames without positions", Refused("12 x multi-frame images without positions"))
def frames_without_places(folder: Path) -> Made:
    return Made(series(folder / "ct", stored(), NumberOfFrames=7))


def fillers(folder: Path, names: Sequence[str]) -> None:
    """Files that are not DICOM, as they occur on exported discs."""
    for name in names:
        (folder / name).write_bytes(b"\0" * 128 + b"DICM" if name == "DICOMDIR" else b"hello")


@CASES.case("an exported disc: viewer, DICOMDIR and readme next to the slices", Handled())
def exported_disc(folder: Path) -> Made:
    made = series(folder / "disc" / "A" / "B", stored())
    fillers(folder / "disc", ("DICOMDIR", "viewer.exe", "README.TXT", ".hidden"))
    assert made.is_dir()
    return Made(folder / "disc", _truth())
