"""Clinical DICOM studies: time series, cardiac phases, dual energy, two fields of view, bidirectional scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
from lvnet.volume import Volume

from .case import Handled, Kind, Made, Refused
from .dicom_files import enhanced, item, series, stored
from .dicom_studies import study_case, truth_of, with_middle
from .scans import ORIGIN, scan, waves
from .studies import Pass, evenly, write_study

CASES = Kind("DICOM studies as clinics produce them")
_COUNT, _STEP = 14, 3.0
_TOLD = "passes of one series were separated"
_A = Pass(20, evenly(_COUNT, _STEP))
_BACK = tuple(reversed(evenly(_COUNT, _STEP, 1.5)))


def _case(name: str, title: str, passes: Sequence[Pass], answer: Any, truth: Any = None, **how: Any) -> None:
    study_case(CASES, name, title, passes, answer, truth, **how)


def _by_place(passes: Sequence[Pass]) -> Sequence[Pass]:
    """Numbers the instances position by position, alternating between the passes."""
    count = len(passes)
    return [
        replace(one, each=[{"InstanceNumber": count * i + k + 1, **(one.each[i] if i < len(one.each) else {})}
                           for i in range(len(one.heights))])
        for k, one in enumerate(passes)
    ]  # fmt: skip


# Bidirectional scans.
_case("there_and_back", "two passes half a slice apart, the second in reverse, continuous numbers",
      (_A, Pass(160, _BACK)), Handled((_TOLD,)))  # fmt: skip
_case("there_and_back_by_time", "two passes half a slice apart, the second in reverse, separated by time",
      _by_place([
          replace(_A, each=[{"AcquisitionTime": f"12{i:02d}00"} for i in range(_COUNT)]),
          Pass(160, _BACK, {}, "", [{"AcquisitionTime": f"12{20 + i:02d}00"} for i in range(_COUNT)]),
      ]), Handled((_TOLD,)))  # fmt: skip

# Time series.
_TIMES = [Pass(20 + 40 * k, evenly(8, _STEP), {"TemporalPositionIdentifier": k + 1}) for k in range(6)]
_case("perfusion_alone", "only a perfusion series, 6 times at 8 positions: one time is used", _by_place(_TIMES),
      Handled((_TOLD,)))  # fmt: skip
_case("perfusion_by_time", "a perfusion series of 6 times, separated by acquisition time only",
      _by_place([Pass(20 + 40 * k, evenly(8, _STEP), {"AcquisitionTime": f"1200{10 + k}"}) for k in range(6)]),
      Handled((_TOLD,)))  # fmt: skip
_case("cardiac_phases", "ten cardiac phases at the same positions, separated by trigger time",
      _by_place([Pass(20 + 40 * k, _A.heights, {"TriggerTime": 75 * k}) for k in range(10)]),
      Handled((_TOLD,)))  # fmt: skip
_case("cardiac_percent", "four cardiac phases at the same positions, separated by percent of the cycle",
      _by_place([Pass(20 + 40 * k, _A.heights, {"NominalPercentageOfCardiacPhase": 25 * k}) for k in range(4)]),
      Handled((_TOLD,)))  # fmt: skip

# Dual energy.
_OTHER = {"SeriesInstanceUID": "1.2.3.4.6", "SeriesNumber": 1}
_MIXED = _A.of(SeriesDescription="DE_Abd portal M_0.6", ConvolutionKernel="B30f")
_VMI = Pass(160, evenly(16, _STEP, -3.0), {**_OTHER, "SeriesDescription": "Mono+ 70 keV", "ConvolutionKernel": "B30f"})
_MAP = Pass(300, evenly(18, _STEP, -6.0), {"SeriesInstanceUID": "1.2.3.4.7", "SeriesNumber": 2,
                                          "SeriesDescription": "Iodine 1.5"})  # fmt: skip
_case("mixed_beside_virtual", "mixed images next to virtual monoenergetic ones and an iodine map, both longer",
      (_MIXED, _VMI, _MAP), Handled(("series 3 was chosen from 3 scans, the original axial scan",)))  # fmt: skip
_case("virtual_beside_map", "virtual monoenergetic images next to an iodine map, without mixed images",
      (_VMI, _MAP), Handled(("series 1 was chosen from 2 scans",)))  # fmt: skip

# One series with two reconstructions.
_case("two_fields_of_view", "two fields of view in one series, the narrow one first",
      (Pass(160, _A.heights, {"PixelSpacing": [1.0, 1.0]}), _A),
      Handled(("was chosen from 2 scans, the one with a wide field of view",)), truth_of(_A))  # fmt: skip
_case("two_thicknesses", "slices of 3 mm, and of 6 mm at every second position, in one series",
      _by_place([_A.of(SliceThickness=3), Pass(160, _A.heights[::2], {"SliceThickness": 6})]),
      Handled((_TOLD,)))  # fmt: skip
_case("localizer_in_the_series", "two localizers with the scan's series UID",
      (_A, Pass(300, (0.0, 9.0), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
                                  "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]})),
      Handled(("left out: 2 x localizers",)))  # fmt: skip
_case("bolus_then_scan", "three bolus tracking images at one position, with the scan's series and acquisition",
      (_A, Pass(300, (18.0,) * 3, {}, "", [{"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "BOLUS"]}] * 3)),
      Handled((_TOLD,)))  # fmt: skip
_case("perfusion_of_twelve", "a perfusion series of 12 times, separated by acquisition time only",
      _by_place([Pass(20 + 40 * k, evenly(8, _STEP), {"AcquisitionTime": f"1200{10 + k}"}) for k in range(12)]),
      Handled((_TOLD,)))  # fmt: skip
_case("tilt_with_a_gap", "gantry tilted, a slice missing",
      [replace(_A, heights=tuple(h for i, h in enumerate(_A.heights) if i != 6))],
      Handled(("gantry tilt", "1 slice is missing")), with_middle(truth_of(_A), 6), shift=0.2)  # fmt: skip


@CASES.case("two studies of one patient in one folder", Refused("2 scans need an output folder"), worker=None)
def two_studies_in_one_folder(folder: Path) -> Made:
    later = Pass(160, _A.heights, {"StudyInstanceUID": "1.2.3.5", "SeriesInstanceUID": "1.2.3.5.1"})
    return Made(write_study(folder / "ct", (_A, later)))


@CASES.case("an enhanced file with two stacks, one phase each", Handled((_TOLD,)))
def enhanced_two_stacks(folder: Path) -> Made:
    other = np.clip(waves() + 300, -1024, 3000).astype(np.int16)
    both = np.concatenate([stored(), stored(other)])
    heights = [_STEP * i for i in range(12)] * 2

    def content(index: int) -> Any:
        return item(StackID=str(1 + index // 12), InStackPositionNumber=1 + index % 12)

    enhanced(folder / "ct" / "ct.dcm", both, heights, content=content)
    return Made(folder / "ct", scan())


# Padding.
_SIGNED = waves().astype(np.int16)


def _corners(values: np.ndarray, pad: int) -> np.ndarray:
    result = values.copy()
    result[:, :9, :9] = result[:, -7:, -5:] = pad
    return result


def _air() -> Volume:
    return scan(_corners(_SIGNED, -1024), origin=ORIGIN)


@CASES.case("padding of -2000 in pixels of 12 bits", Handled(("marked as padding",)))
def padding_of_12_bits(folder: Path) -> Made:
    made = series(folder / "ct", _corners(_SIGNED, -2000), RescaleIntercept="0", BitsStored=12, HighBit=11,
                  PixelPaddingValue=-2000)  # fmt: skip
    return Made(made, _air())


@CASES.case("a padding value that pixels of 12 bits cannot hold", Handled())
def padding_out_of_range(folder: Path) -> Made:
    made = series(folder / "ct", stored(), BitsStored=12, HighBit=11, PixelPaddingValue=63536)
    return Made(made, scan())


@CASES.case("a padding range with its upper limit first", Handled(("marked as padding",)))
def padding_range_reversed(folder: Path) -> Made:
    made = series(folder / "ct", _corners(_SIGNED, -1900), RescaleIntercept="0", PixelPaddingValue=-1600,
                  PixelPaddingRangeLimit=-2000)  # fmt: skip
    return Made(made, _air())


@CASES.case("a padding value brighter than metal", Handled(("marked as padding",)))
def padding_above(folder: Path) -> Made:
    made = series(folder / "ct", _corners(_SIGNED, 32767), RescaleIntercept="0", PixelPaddingValue=32767)
    return Made(made, _air())
