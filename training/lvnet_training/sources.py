"""Finding the scans and labels of a data set in one of the usual layouts.

LiTS as downloaded (`volume-N.nii`, `segmentation-N.nii`, also in batches in subfolders), folders of the
Medical Segmentation Decathlon or nnU-Net (`imagesTr`, `labelsTr`, `dataset.json`), and plain folders with
one subfolder per case with `ct` and a label.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple, Union

from lvnet.errors import ImageError
from lvnet.image_io.names import READABLE_SUFFIXES, suffix_of

#: Possible names of the label in a plain case folder, the most specific first.
LABEL_STEMS = ("liver", "label", "labels", "segmentation", "seg", "mask")
#: The meaning of LiTS's label values.
LITS_LABELS: Mapping[int, str] = {1: "liver", 2: "tumour"}
_LITS = re.compile(r"(volume|segmentation)-(\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One case of a data set on disk.

    Attributes:
        name: the case's name, unique within its data set.
        scan: file of the CT.
        label: file of the label map.
        label_names: the meaning of the label's values, if the data set gives it.
        problem: why the case cannot be used; empty if there is no known problem.
    """

    name: str
    scan: Path
    label: Path
    label_names: Mapping[int, str] = field(default_factory=dict)
    problem: str = ""


def find_cases(folder: Union[str, Path]) -> List[Source]:
    """The cases of a data set, in natural order of their names; those without a label have a `problem`.

    Raises:
        ImageError: there are none.
    """
    folder = Path(folder)
    if (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir():
        found = list(_decathlon(folder))
    else:
        found = list(_lits(folder)) or list(_plain(folder))
    if not found:
        raise ImageError(
            f"no case in {folder}: it must contain volume-N.nii with segmentation-N.nii (LiTS), imagesTr with labelsTr"
            " (MSD, nnU-Net), or a subfolder per case with ct.nii.gz and liver.nii.gz"
        )
    return sorted(found, key=lambda source: by_number(source.name))


def by_number(name: str) -> Tuple[Any, ...]:
    """A sort key that puts case 9 before case 10."""
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part)


def _images(folder: Path) -> Dict[str, Path]:
    """Image files of a folder by stem, without the metadata files of macOS (`._name`)."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return {p.name[: -len(suffix)]: p for p in files for suffix in [suffix_of(p, READABLE_SUFFIXES)] if suffix}


def _lits(folder: Path) -> Iterator[Source]:
    if not folder.is_dir():
        return
    halves: Dict[str, Dict[str, Path]] = {"volume": {}, "segmentation": {}}
    for place in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir() and len(p.parts) < len(folder.parts) + 3)]:
        for stem, path in _images(place).items():
            match = _LITS.match(stem)
            if match:
                halves[match[1].lower()].setdefault(match[2], path)
    for number in {**halves["volume"], **halves["segmentation"]}:
        scan, label = (halves[kind].get(number) for kind in ("volume", "segmentation"))
        problem = "" if scan and label else f"there is no {'segmentation' if scan else 'volume'}-{number}"
        yield Source(f"volume-{number}", scan or folder, label or folder, LITS_LABELS, problem)


def _decathlon(folder: Path) -> Iterator[Source]:
    """MSD's images have the same name as their label; nnU-Net appends the channel number `_0000`."""
    images, labels = _images(folder / "imagesTr"), _images(folder / "labelsTr")
    names = _label_names(folder / "dataset.json")
    used = set()
    for name, label in labels.items():
        channels = [stem for stem in images if re.fullmatch(re.escape(name) + r"_\d{4}", stem)]
        stem = name if name in images else f"{name}_0000"
        problem = "" if stem in images else "there is no image with that name in imagesTr"
        if stem != name and len(channels) > 1:
            problem = f"it has {len(channels)} channels, but a CT has one"
        used.update([stem, *channels])
        yield Source(name, images.get(stem, folder), label, names, problem)
    for stem in sorted(set(images) - used):
        yield Source(stem, images[stem], folder, names, "there is no label with that name in labelsTr")


def _label_names(path: Path) -> Dict[int, str]:
    """Names by value of a `dataset.json`: MSD has {"1": "liver"}, nnU-Net {"liver": 1}."""
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["labels"].items()
        pairs = [(int(a), str(b)) if str(a).isdigit() else (int(b), str(a)) for a, b in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"the labels in {path} cannot be read: {error}") from error
    return {value: name.lower() for value, name in pairs if value != 0}


def _plain(folder: Path) -> Iterator[Source]:
    for place in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []:
        images = _images(place)
        scan = images.pop("ct", None)
        if scan is None:
            continue
        stems = [stem for stem in LABEL_STEMS if stem in images] or (list(images) if len(images) == 1 else [])
        problem = ""
        if not stems:
            problem = f"there is no label beside {scan.name}; name it liver.nii.gz or label.nii.gz"
        yield Source(place.name, scan, images[stems[0]] if stems else place, {}, problem)
