"""DICOM studies that contain more than one scan: passes, reconstructions, derived series, padding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import numpy as np
from lvnet.volume import Volume

from .case import Handled, Kind, Made, Refused
from .dicom_files import series
from .scans import ORIGIN, scan, waves
from .studies import Pass, evenly, shuffled_names, write_study

CASES = Kind("DICOM studies")
_SIZE = (24, 28)
_COUNT, _STEP = 14, 3.0
_ORIGIN = (-40.0, -30.0, 12.0)

#: How two passes of one series can differ: name -> fields of the pass with a given number.
DIFFERENCES: Dict[str, Callable[[int], Dict[str, Any]]] = {
    "acquisition number": lambda i: {"AcquisitionNumber": i + 1},
    "acquisition UID": lambda i: {"AcquisitionUID": f"1.2.3.4.8.{i + 1}"},
    "series number": lambda i: {"SeriesNumber": 3 + i},
    "image type": lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", f"CT_{i}"]},
    "kernel": lambda i: {"ConvolutionKernel": f"B{30 + i}f"},
    "tube voltage": lambda i: {"KVP": 120 + 20 * i},
    "temporal position": lambda i: {"TemporalPositionIdentifier": i + 1},
    "exposure": lambda i: {"Exposure": 100 + 40 * i},
    "time of acquisition": lambda i: {"AcquisitionTime": f"12{10 * i:02d}00"},
    "slice thickness": lambda i: {"SliceThickness": 3.0 + i},
    "contrast agent": lambda i: {"ContrastBolusAgent": "" if i == 0 else "agent"},
    "frame of reference": lambda i: {"FrameOfReferenceUID": f"1.2.3.4.6.{i + 1}"},
}
_TAKEN = "passes of one series were separated"


def truth_of(one: Pass, *, size: Tuple[int, int] = _SIZE, **place: Any) -> Volume:
    """The correct scan of a pass, if its slices lie on a regular grid."""
    texture = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 7
    heights = sorted(one.heights)
    array = np.stack([texture + one.hu(height) for height in heights]).astype(np.int16)
    step = (heights[-1] - heights[0]) / (len(heights) - 1)
    origin = (_ORIGIN[0], _ORIGIN[1], _ORIGIN[2] + heights[0])
    return Volume(array, (step, 2.0, 2.0), **{"origin": origin, **place})


def study_case(
    kind: Kind,
    name: str,
    title: str,
    passes: Sequence[Pass],
    answer: Any,
    truth: Optional[Volume] = None,
    **how: Any,
) -> None:
    """Registers a study with shuffled file names; by default, its first pass is the correct scan."""

    def make(folder: Path) -> Made:
        names = shuffled_names(sum(len(one.heights) for one in passes), 5)
        path = write_study(folder / "ct", passes, size=_SIZE, names=names, **how)
        return Made(path, None if isinstance(answer, Refused) else truth or truth_of(passes[0]))

    kind.case(title, answer, name=name)(make)


def _study(name: str, title: str, passes: Sequence[Pass], answer: Any, truth: Any = None, **how: Any) -> None:
    study_case(CASES, name, title, passes, answer, truth, **how)


def with_middle(volume: Volume, index: int) -> Volume:
    """A scan in which one slice is the mean of its neighbours."""
    array = volume.array.copy()
    array[index] = np.rint((array[index - 1].astype(float) + array[index + 1]) / 2)
    return replace(volume, array=array)


def _two(difference: str, start: float, count: int = _COUNT) -> Tuple[Pass, Pass]:
    fields = DIFFERENCES[difference]
    return (
        Pass(20, evenly(_COUNT, _STEP), fields(0)),
        Pass(160, evenly(count, _STEP, start), fields(1)),
    )


for _name in DIFFERENCES:
    _slug = _name.replace(" ", "_").lower()
    _study(f"interleaved_by_{_slug}", f"two phases half a slice apart in one series, separated by {_name}",
           _two(_name, 1.5), Handled(("was chosen from",)))  # fmt: skip
for _name in ("acquisition number", "kernel", "temporal position", "exposure"):
    _slug = _name.replace(" ", "_").lower()
    _study(f"same_places_by_{_slug}", f"two phases at the same positions in one series, separated by {_name}",
           _two(_name, 0.0), Handled((_TAKEN,)))  # fmt: skip
    _study(f"one_mm_apart_by_{_slug}", f"two phases 1 mm apart in one series, separated by {_name}",
           _two(_name, 1.0), Handled((_TAKEN,)))  # fmt: skip
for _name in ("acquisition number", "time of acquisition", "image type"):
    _slug = _name.replace(" ", "_").lower()
    _study(f"chest_and_abdomen_by_{_slug}", f"two passes that overlap, separated by {_name}: the longer one is used",
           _two(_name, 22.0, 9), Handled((_TAKEN,)))  # fmt: skip


def _numbered(one: Pass, first: int) -> Pass:
    return replace(one, each=[{"InstanceNumber": first + index} for index in range(len(one.heights))])


_A, _B = Pass(20, evenly(_COUNT, _STEP)), Pass(160, evenly(_COUNT, _STEP, 1.5))
_study("interleaved_by_number", "two phases half a slice apart, separated by continuous instance numbers",
       (_A, _B), Handled((_TAKEN,)))  # fmt: skip
_study("interleaved_with_numbers_anew", "two phases half a slice apart, with the same instance numbers",
       (_numbered(_A, 1), _numbered(_B, 1)), Handled((_TAKEN,)))  # fmt: skip
_by_place = [
    replace(one, each=[{"InstanceNumber": 2 * i + 1 + k} for i in range(_COUNT)]) for k, one in enumerate((_A, _B))
]
_study("interleaved_and_renumbered", "two phases half a slice apart that the headers do not tell apart", _by_place,
       Refused("the slices alternate between 2 different images"))  # fmt: skip
_blind = {"InstanceNumber": None}
_study("same_places_and_nothing_else", "two phases at the same positions that cannot be told apart",
       (_A.of(**_blind), Pass(160, _A.heights, _blind)), Refused("have several different slices"))  # fmt: skip
_study("combs", "two phases 1 mm apart that only their positions tell apart",
       (replace(_A, each=[_blind] * _COUNT), Pass(160, evenly(_COUNT, _STEP, 1.0), {}, "", [_blind] * _COUNT)),
       Handled((_TAKEN,)))  # fmt: skip
_study("two_distances", "two passes with slices 3 mm and 2 mm apart that cannot be told apart",
       (replace(_A, each=[_blind] * _COUNT), Pass(160, evenly(20, 2.0, 0.7), {}, "", [_blind] * 20)),
       Refused("irregularly spaced"))  # fmt: skip
_copy = Pass(20, _A.heights[3:5], {}, "", [{"SOPInstanceUID": f"1.2.3.4.99.{i}", **_blind} for i in range(2)])
_study("copies_with_other_uids", "two duplicated slices, each copy a separate object",
       (replace(_A, each=[_blind] * _COUNT), _copy),
       Handled(("2 slices at duplicate positions",)))  # fmt: skip

# Bolus-tracking images among the slices.
_IN = _STEP * 6
_study("bolus_tracking_by_acquisition", "a bolus-tracking image at a slice's position, another acquisition",
       (_A.of(AcquisitionNumber=5), Pass(300, (_IN,), {"AcquisitionNumber": 4})), Handled((_TAKEN,)))  # fmt: skip
_study("bolus_tracking_between", "a bolus-tracking image between slices, another acquisition",
       (_A.of(AcquisitionNumber=5), Pass(300, (_IN + 1.2,), {"AcquisitionNumber": 4})), Handled((_TAKEN,)))  # fmt: skip
_study("bolus_tracking_series", "twelve bolus-tracking images at one position beside the scan",
       (_A, Pass(300, (_IN,) * 12, {"SeriesInstanceUID": "1.2.3.4.6", "SeriesNumber": 2,
                                    "SeriesDescription": "PreMonitoring"})),
       Handled(("series 3 was chosen from 2 scans",)))  # fmt: skip
_study("bolus_tracking_unlabelled", "an image between slices that only its position tells apart",
       (replace(_A, each=[_blind] * _COUNT), Pass(300, (_IN + 1.2,), _blind)), Handled((_TAKEN,)))  # fmt: skip


# Consecutive passes form one scan.
def _parts(size: int, count: int, **more: Any) -> Sequence[Pass]:
    heights = evenly(size * count, _STEP)
    return [Pass(20, heights[size * i : size * (i + 1)], {"AcquisitionNumber": i + 1, **more}) for i in range(count)]


_WHOLE = truth_of(Pass(20, evenly(12, _STEP)))
for _size in (1, 2, 4, 6):
    _study(f"acquisitions_of_{_size}", f"acquisitions of {_size} slice{'s' * (_size > 1)} that follow one another",
           _parts(_size, 12 // _size), Handled(), _WHOLE)  # fmt: skip
_study("acquisitions_far_apart", "two acquisitions 200 mm apart: the longer one is used",
       (_A.of(AcquisitionNumber=1), Pass(160, evenly(6, _STEP, 240.0), {"AcquisitionNumber": 2})),
       Handled((_TAKEN,)))  # fmt: skip
_study("tilted_phases", "two phases half a slice apart, gantry tilted",
       _two("acquisition number", 1.5), Handled((_TAKEN, "gantry tilt")), shift=0.2)  # fmt: skip
_study("one_slice_missing_in_each", "two phases half a slice apart, each with a missing slice",
       [replace(one, heights=tuple(h for i, h in enumerate(one.heights) if i != 5 + k))
        for k, one in enumerate(_two("acquisition number", 1.5))],
       Handled((_TAKEN, "1 slice is missing")), with_middle(truth_of(_A), 5))  # fmt: skip

# Additional series, all of them longer or with a lower number than the scan.
_SIBLINGS: Dict[str, Tuple[str, Dict[str, Any]]] = {
    "mip": ("a MIP", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"]}),
    "min_ip": ("a MinIP", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MINIP"]}),
    "average": ("an average", {"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE"]}),
    "iodine_map": ("an iodine map", {"ImageType": ["DERIVED", "PRIMARY", "AXIAL"], "SeriesDescription": "Iodine"}),
    "iodine_map_by_unit": ("a map in mg/ml", {"RescaleType": "MGML"}),
    "virtual_unenhanced": ("a virtual unenhanced scan", {"SeriesDescription": "VNC"}),
    "perfusion_map": ("a map of perfusion", {"SeriesDescription": "CBF"}),
    "subtraction": ("a subtraction", {"SeriesDescription": "Subtraction"}),
    "derived": ("a derived series", {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}),
    "screenshot": ("a secondary capture", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}),
    "lung_kernel": ("a lung kernel", {"ConvolutionKernel": "B70f"}),
    "bone_kernel": ("a bone kernel", {"ConvolutionKernel": "BONE"}),
    "head": ("a head", {"SeriesDescription": "Head", "BodyPartExamined": "HEAD"}),
    "arterial": ("an arterial phase", {"SeriesDescription": "Abd arterial"}),
    "unenhanced": ("an unenhanced scan", {"SeriesDescription": "Abd native"}),
    "coronal": ("a coronal reformat", {"ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]}),
}  # fmt: skip
for _slug, (_words, _fields) in _SIBLINGS.items():
    _own = {"SeriesInstanceUID": "1.2.3.4.6", "SeriesNumber": 1}
    _study(f"beside_{_slug}", f"the scan next to {_words} with more slices and a lower number",
           (_A.of(SeriesDescription="Abd portal venous", ConvolutionKernel="B30f"),
            Pass(160, evenly(16, _STEP, -3.0), {"ConvolutionKernel": "B30f", **_own, **_fields})),
           Handled(("series 3 was chosen from 2 scans",)))  # fmt: skip
_study("beside_perfusion", "the scan next to 20 passes of 4 slices in one series",
       (_A, *(Pass(100 + 10 * i, evenly(4, _STEP, 9.0), {"SeriesInstanceUID": "1.2.3.4.6", "SeriesNumber": 1,
                                                      "AcquisitionNumber": i + 1}) for i in range(20))),
       Handled(("series 3 was chosen from 21 scans",)))  # fmt: skip
_study("beside_thick_slices", "the scan next to one with slices 12 mm apart that is one slice higher",
       (_A, Pass(160, evenly(5, 12.0), {"SeriesInstanceUID": "1.2.3.4.6", "SeriesNumber": 1})),
       Handled(("series 3 was chosen from 2 scans",)))  # fmt: skip


# Padding values.
def _padding(
    name: str, title: str, values: np.ndarray, pad: int, *, note: bool = True, missing: bool = False, **fields: Any
) -> None:
    """Sets corners to the stored value `pad`; the correct scan has air there."""

    def make(folder: Path) -> Made:
        offset = int(fields.get("RescaleIntercept", -1024))
        stored_, truth = values.copy(), values.astype(int) + offset
        stored_[:, :9, :9] = stored_[:, -7:, -5:] = pad
        truth[:, :9, :9] = truth[:, -7:, -5:] = -1024
        heights = [3.0 * index for index in range(12)]
        keep = [index for index in range(12) if not (missing and index == 6)]
        if missing:
            truth[6] = np.rint((truth[5] + truth[7]) / 2)
        path = series(folder / "ct", stored_[keep], heights=[heights[i] for i in keep], **fields)
        return Made(path, scan(truth.astype(np.int16), origin=ORIGIN))

    said = ("marked as padding",) if note else ()
    CASES.case(title, Handled((*said, *(("1 slice is missing",) if missing else ()))), name=name)(make)


_PLAIN = (waves() + 1024).astype(np.uint16)
_SIGNED = waves().astype(np.int16)
_padding("padding_unsigned", "padding of 63536 in unsigned pixels", _PLAIN, 63536, PixelPaddingValue=63536)
_padding("padding_signed", "padding of -2000 in signed pixels", _SIGNED, -2000,
         RescaleIntercept="0", PixelPaddingValue=-2000)  # fmt: skip
_padding("padding_odd", "padding of -1777 in signed pixels", _SIGNED, -1777,
         RescaleIntercept="0", PixelPaddingValue=-1777)  # fmt: skip
_padding("padding_range", "padding that is a range of values", _SIGNED, -1700,
         RescaleIntercept="0", PixelPaddingValue=-1900, PixelPaddingRangeLimit=-1600)  # fmt: skip
_padding("padding_of_water", "padding of 0 HU around the field of view", np.where(_SIGNED == 0, 1, _SIGNED), 0,
         RescaleIntercept="0", PixelPaddingValue=0)  # fmt: skip
_padding("padding_where_a_slice_is_filled_in", "padding, and an interpolated slice", _PLAIN, 63536,
         missing=True, PixelPaddingValue=63536)  # fmt: skip
_padding("outside_of_2000", "-2000 outside the field of view, not declared", _SIGNED, -2000, RescaleIntercept="0")
_padding("outside_of_3024", "-3024 outside the field of view, not declared", _SIGNED, -3024, RescaleIntercept="0")


@CASES.case(
    "a padding value of 0 that also occurs as water in the body: only what reaches the border is padding",
    Handled(("marked as padding",)),
)
def padding_within_the_body(folder: Path) -> Made:
    stored_ = np.where(_SIGNED == 0, 1, _SIGNED)
    stored_[:, :9, :9] = 0
    truth = stored_.copy()
    truth[:, :9, :9] = -1024
    stored_[:, 20:24, 20:24] = truth[:, 20:24, 20:24] = 0
    return Made(series(folder / "ct", stored_, RescaleIntercept="0", PixelPaddingValue=0), scan(truth, origin=ORIGIN))


@CASES.case(
    "a slice spacing in the header that differs from the positions",
    Handled(("by the slice positions, which were used",)),
)
def another_slice_distance(folder: Path) -> Made:
    return Made(series(folder / "ct", _PLAIN, SpacingBetweenSlices="5"), scan())


@CASES.case(
    "slices of two patients in one folder",
    Refused("2 scans need an output folder"),
    worker=None,
)
def two_patients_in_one_folder(folder: Path) -> Made:
    write_study(folder / "ct", (_A, Pass(160, _A.heights, {"PatientID": "4712", "SeriesInstanceUID": "1.2.3.4.6"})))
    return Made(folder / "ct")
