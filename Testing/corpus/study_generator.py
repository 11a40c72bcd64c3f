"""Studies drawn by hypothesis, and the promise they are held to.

`PYTHONPATH=LVNetSegmentation:Testing python Testing/corpus/study_generator.py --count 10000` runs as many as asked
for; a short form is `Testing/core/test_dicom_studies.py`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from lvnet.errors import ImageError
from lvnet.image_io import read_image

from corpus.studies import Pass, evenly, passes_in, shuffled_names, write_study

#: How two passes of one series may differ in their headers; each gives fields for the pass of a number.
DIFFERENCES = {
    "acquisition": lambda i: {"AcquisitionNumber": i + 1},
    "acquisition uid": lambda i: {"AcquisitionUID": f"1.2.3.4.8.{i + 1}"},
    "series number": lambda i: {"SeriesNumber": 3 + i},
    "series": lambda i: {"SeriesInstanceUID": f"1.2.3.4.7.{i + 1}"},
    "image type": lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", f"CT_{i}"]},
    "kernel": lambda i: {"ConvolutionKernel": f"B{30 + i}f"},
    "voltage": lambda i: {"KVP": 80 + 20 * i},
    "temporal": lambda i: {"TemporalPositionIdentifier": i + 1},
    "exposure": lambda i: {"Exposure": 100 + 7 * i},
    "time of the pass": lambda i: {"AcquisitionTime": f"1200{10 * i:02d}"},
    "thickness": lambda i: {"SliceThickness": 3.0 + i},
    "contrast": lambda i: {"ContrastBolusAgent": "" if i == 0 else f"agent {i}"},
}
_WAYS_TO_COUNT = ("on", "anew", "by place", "none")
_CLOCKS = ("none", "by slice")


@dataclass(frozen=True)
class Study:
    """What is written.

    Attributes:
        passes: of the study.
        orientation: of every slice.
        shift: a tilt, see `write_study`.
        seed: of the file names.
        told_apart: the passes differ in a field.
    """

    passes: Tuple[Pass, ...]
    orientation: Tuple[float, ...]
    shift: float
    seed: int
    told_apart: bool

    def disjoint(self, chosen: Sequence[int]) -> bool:
        """Whether no two of the passes share a stretch of the normal."""
        spans = sorted((min(self.passes[i].heights), max(self.passes[i].heights)) for i in chosen)
        return all(low > high for (_, high), (low, _) in zip(spans, spans[1:]))


@st.composite
def studies(draw: Any) -> Study:
    """One to four passes; sometimes a derived sibling, copies, images of bolus tracking."""
    count = draw(st.integers(1, 4))
    differences = draw(st.lists(st.sampled_from(sorted(DIFFERENCES)), max_size=2, unique=True))
    counted, clock = draw(st.sampled_from(_WAYS_TO_COUNT)), draw(st.sampled_from(_CLOCKS))
    step = draw(st.sampled_from((0.625, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0)))
    same_step, down = draw(st.booleans()), draw(st.booleans())
    passes: List[Pass] = []
    for index in range(count):
        own = step if same_step else draw(st.sampled_from((1.0, 1.5, 2.5, 3.0, 5.0)))
        slices = draw(st.integers(7, 20))
        start = draw(st.sampled_from((0.0, 0.0, 0.5 * step, 0.3 * step, 4 * step, 7.3 * step, 40 * step)))
        heights = evenly(slices, own, start * bool(index))
        noise = draw(st.sampled_from((0.0, 0.0, 0.004, 0.02 * own)))
        wobble = np.random.default_rng(draw(st.integers(0, 99))).uniform(-noise, noise, slices)
        heights = tuple(round(float(h + w), 4) for h, w in zip(heights, wobble))
        missing = draw(st.lists(st.integers(1, slices - 2), max_size=1))
        heights = tuple(h for place, h in enumerate(heights) if place not in missing)
        fields: Dict[str, Any] = {"SliceThickness": 3.0}
        for name in differences:
            fields.update(DIFFERENCES[name](index))
        passes.append(Pass(100 + 60 * index, heights[::-1] if down else heights, fields))
    extra = draw(st.sampled_from(("", "", "bolus", "mip")))
    if extra == "bolus":
        place = passes[0].heights[len(passes[0].heights) // 2] + draw(st.sampled_from((0.0, 0.3))) * step
        fields = {**passes[0].fields, "AcquisitionNumber": 77, "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "MON"]}
        passes.append(Pass(500, (place,) * draw(st.integers(1, 4)), fields))
    if extra == "mip":
        kind = {
            "ImageType": ["DERIVED", "SECONDARY", "AXIAL", "MIP"],
            "SeriesInstanceUID": "1.2.3.4.6",
            "SeriesNumber": 9,
        }
        passes.append(Pass(700, evenly(24, 0.9 * step), kind))
    passes = _counted(passes, counted, clock)
    orientation = draw(st.sampled_from(((1.0, 0, 0, 0, 1.0, 0), (-1.0, 0, 0, 0, 1.0, 0), (1.0, 0, 0, 0, 0.96, 0.28))))
    shift = draw(st.sampled_from((0.0, 0.0, 0.2)))
    number = draw(st.integers(0, 999))
    return Study(tuple(passes), orientation, shift, number, bool(differences))


def _counted(passes: Sequence[Pass], how: str, clock: str) -> List[Pass]:
    """Instance numbers and times."""
    places = sorted((h, i, j) for i, one in enumerate(passes) for j, h in enumerate(one.heights))
    rank = {(i, j): number for number, (_, i, j) in enumerate(places, 1)}
    result, running = [], 0
    for i, one in enumerate(passes):
        each = []
        for j in range(len(one.heights)):
            running += 1
            number = {"on": running, "anew": j + 1, "by place": rank[i, j], "none": None}[how]
            own: Dict[str, Any] = {"InstanceNumber": number}
            if clock == "by slice":
                own["ContentTime"] = f"12{i:02d}{j:02d}.5"
            each.append(own)
        result.append(Pass(one.value, one.heights, one.fields, one.folder, each))
    return result


def outcome(study: Study, folder: Path) -> str:
    """Writes a study and reads it: "one pass", "several that follow one another" or "refused".

    Raises:
        AssertionError: the volume is a mixture, or the refusal says nothing.
    """
    count = sum(len(one.heights) for one in study.passes)
    names = shuffled_names(count, study.seed)
    write_study(folder, study.passes, orientation=study.orientation, shift=study.shift, names=names)
    try:
        volume = read_image(folder)
    except ImageError as error:
        text = str(error)
        assert "4711" not in text and "1.2.3.4" not in text and "\n" not in text
        assert any(word in text for word in ("headers do not tell", "headers do not distinguish", "regular grid")), text
        # What the headers tell apart is no reason to give up.
        assert not study.told_apart, text
        return "refused"
    row, column = np.asarray(study.orientation).reshape(2, 3)
    normal = np.cross(row, column)
    base = (np.asarray(volume.origin) - np.array([-40.0, -30.0, 12.0])) @ normal
    heights = base + volume.spacing[0] * np.arange(volume.shape[0])
    found = passes_in(volume.array, heights, study.passes)
    # Of passes that follow one another, a slice that is missing between them lies between the two.  Where headers tell
    # the passes apart, that is one slice at most, and the note says so.
    said = any("interpolated" in note for note in volume.notes) and found.count(-1) < len({*found} - {-1})
    if study.disjoint(sorted({*found} - {-1})) and (said or not study.told_apart):
        found = [one for one in found if one != -1]
    runs = [one for one, before in zip(found, [None, *found]) if one != before]
    assert -1 not in found, (found, volume.notes)
    assert len(runs) == len(set(runs)), (found, volume.notes)
    if len(runs) > 1:
        assert study.disjoint(runs), (found, volume.notes)
        return "several that follow one another"
    # The note says what else is there.
    assert len(study.passes) == 1 or volume.notes, volume.notes
    assert study.passes[found[0]].value < 500 or len(study.passes) == 1, (found, volume.notes)
    return "one pass"


def run(count: int, start: int = 0) -> Counter:
    """Holds as many studies to the promise; how often each outcome came."""
    outcomes: Counter = Counter()
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None

    @seed(start)
    @settings(
        max_examples=count, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(studies())
    def hold(study: Study) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lvnet-study-", dir=place))
        try:
            outcomes[outcome(study, folder)] += 1
        finally:
            shutil.rmtree(folder)

    hold()
    return outcomes


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Prints how often each outcome came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for name, number in run(options.count, options.seed).most_common():
        print(f"{number:6d}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
