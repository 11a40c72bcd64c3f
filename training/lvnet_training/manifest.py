"""The manifest of the training scans: origin, preparation and checksums of each.

`python -m lvnet_training.manifest training/data/manifest.csv DATA` fills the columns that are measured
(size, spacing, voxels of the label, checksums) from the folders DATA/train and DATA/val.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from lvnet.errors import ConfigurationError, LVNetError
from lvnet.files import sha256_of, write_whole
from lvnet.image_io import read_image, read_labels
from lvnet.orientation import to_canonical
from lvnet.volume import Volume

from .preparation_steps import Step, parse_steps

#: The manifest in a checkout of the repository.
DEFAULT = Path(__file__).parents[1] / "data" / "manifest.csv"
SPLITS = ("train", "val")
#: Columns that an entry stores unchanged.
_PLAIN = (
    "split", "case", "patient", "source", "source_case", "same_scan_as", "label_origin", "hu", "preparation",
    "ct_sha256", "label_sha256",
)  # fmt: skip
COLUMNS = (
    "split", "case", "patient", "source", "source_case", "same_scan_as", "address", "licence", "label_origin", "hu",
    "liver_ml", "preparation", "size", "spacing_mm", "label_voxels", "ct_sha256", "label_sha256", "ct_voxels_sha256",
    "label_voxels_sha256",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """Measurements of a scan and its label, independent of the orientation in the file.

    Attributes:
        size: (z, y, x) voxels.
        spacing: (z, y, x) mm.
        label_voxels: voxels of the organ.
        liver_ml: the organ's volume.
        ct_digest, label_digest: SHA-256 of size and voxels in canonical order; empty without a label.
    """

    size: Tuple[int, ...]
    spacing: Tuple[float, ...]
    label_voxels: int
    liver_ml: float
    ct_digest: str
    label_digest: str


@dataclass(frozen=True)
class Entry:
    """One row of the manifest.

    Attributes:
        split: `train` or `val`.
        patient: the same for scans of one patient.
        same_scan_as: a source and case, such as `3D-IRCADb-01 case 2`, that shows the same scan; or empty.
        label_origin: who made the label.
        hu: the range and accuracy of the HU.
        steps: preparation steps.
        made: measurements of the prepared case.
        ct_sha256, label_sha256: of the files.
    """

    split: str
    case: str
    patient: str
    source: str
    source_case: str
    same_scan_as: str
    label_origin: str
    hu: str
    preparation: str
    steps: Tuple[Step, ...]
    made: Facts
    ct_sha256: str
    label_sha256: str


def read_manifest(path: Path) -> List[Entry]:
    """All rows.

    Raises:
        ConfigurationError: the file cannot be read, lacks a column, or contains an invalid entry.
    """
    entries: List[Entry] = []
    for number, row in enumerate(_rows(path), start=2):
        try:
            if row["split"] not in SPLITS or Path(row["case"]).name != row["case"] or row["case"] in ("", ".", ".."):
                raise ConfigurationError(f"{row['split']!r} and {row['case']!r} are not a valid split and case")
            size = tuple(int(n) for n in row["size"].split(" x "))
            spacing = tuple(float(n) for n in row["spacing_mm"].split(" x "))
            facts = Facts(size, spacing, int(row["label_voxels"]), float(row["liver_ml"]), row["ct_voxels_sha256"],
                          row["label_voxels_sha256"])  # fmt: skip
            steps = parse_steps(row["preparation"], row["hu"])
        except (ValueError, ConfigurationError) as error:
            raise ConfigurationError(f"{path}, line {number}: {error}") from error
        plain = {name: row[name] for name in _PLAIN}
        entries.append(Entry(steps=steps, made=facts, **plain))
    if len({(entry.split, entry.case) for entry in entries}) != len(entries):
        raise ConfigurationError(f"{path} contains a case twice")
    return entries


def _rows(path: Path, needed: Sequence[str] = COLUMNS) -> List[Dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigurationError(f"{path} is not a manifest: it has no column {missing[0]}")
            return [{key: value or "" for key, value in row.items() if key} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"cannot read the manifest {path}: {error}") from error


def measure(scan: Volume, label: Optional[Volume]) -> Facts:
    """The manifest's measurements of a scan and its label."""
    moved = to_canonical(scan)[0]
    voxels, digest = 0, ""
    if label is not None:
        array = to_canonical(label)[0].array.astype(np.uint8)
        voxels, digest = int(array.sum(dtype=np.int64)), _digest(array)
    ml = voxels * moved.voxel_volume_ml
    return Facts(moved.shape, moved.spacing, voxels, ml, _digest(moved.array.astype("<i2")), digest)


def _digest(array: np.ndarray) -> str:
    """SHA-256 of the size as text and the voxels, x fastest, independent of file format and orientation."""
    digest = hashlib.sha256(" x ".join(map(str, array.shape)).encode())
    for layer in array:
        digest.update(np.ascontiguousarray(layer).tobytes())
    return digest.hexdigest()


def fill(path: Path, data: Path) -> int:
    """Measures every case of a manifest and updates the file; returns the number of cases.

    Args:
        data: folder with train/CASE and val/CASE, each with ct.nii.gz and liver.nii.gz.

    Raises:
        ConfigurationError, ImageError: the manifest or a file cannot be read.
    """
    rows = _rows(path, COLUMNS[:12])
    for row in rows:
        ct, liver = (data / row["split"] / row["case"] / name for name in ("ct.nii.gz", "liver.nii.gz"))
        facts = measure(read_image(ct), read_labels(liver))
        row["size"] = " x ".join(map(str, facts.size))
        row["spacing_mm"] = " x ".join(f"{step:.6g}" for step in facts.spacing)
        row["label_voxels"] = str(facts.label_voxels)
        row["ct_voxels_sha256"], row["label_voxels_sha256"] = facts.ct_digest, facts.label_digest
        row["ct_sha256"], row["label_sha256"] = sha256_of(ct), sha256_of(liver)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode("utf-8"))
    return len(rows)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """`python -m lvnet_training.manifest MANIFEST DATA`."""
    parser = argparse.ArgumentParser(description="Measures every case of a manifest and writes the results into it.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("data", type=Path, help="folder with train/CASE and val/CASE")
    options = parser.parse_args(arguments)
    try:
        print(f"{fill(options.manifest, options.data)} cases in {options.manifest}")
    except LVNetError as error:
        print(f"lvnet_training.manifest: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
