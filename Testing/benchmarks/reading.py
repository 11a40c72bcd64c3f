"""Time to read a scan, with our reader and with SimpleITK's, by storage format.

The scan is a phantom with noise.  SimpleITK gets the sorted names of the slices, which its user would have to find
first, and only returns the voxels; ours finds the series, sorts the slices, computes the grid and validates the files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Dict, Mapping

import harness

TESTING = Path(__file__).parents[1]
_BASE = "1.2.840.10008.1.2"
#: How a scan is stored: the transfer syntax of its slices, or the name of its single file.
STORED: Dict[str, str] = {
    "DICOM": f"{_BASE}.1", "DICOM, RLE": f"{_BASE}.5", "DICOM, lossless JPEG": f"{_BASE}.4.70",
    "DICOM, JPEG-LS": f"{_BASE}.4.80", "DICOM, JPEG 2000": f"{_BASE}.4.90", "NIfTI": "ct.nii.gz", "NRRD": "ct.nrrd",
    "MetaImage": "ct.mha",
}  # fmt: skip
WAYS = ("ours", "SimpleITK")


def measure(task: harness.Task) -> Dict[str, Any]:
    """Seconds for the whole scan; runs in a child process."""
    path = Path(task["path"])
    read = partial(_ours if task["way"] == "ours" else _simple_itk, path)
    return {"seconds": harness.seconds_of(read, task["repeats"]), "checksum": int(read().astype("i8").sum())}


def _ours(path: Path) -> Any:
    from lvnet.image_io import read_image

    return read_image(path).array


def _simple_itk(path: Path) -> Any:
    import SimpleITK as sitk  # noqa: N813

    if not path.is_dir():
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(name) for name in sorted(path.iterdir())])
    return sitk.GetArrayFromImage(reader.Execute())


def store(folder: Path, size: tuple, stored: str) -> Path:
    """Writes the scan and returns the path to read."""
    import numpy as np
    from lvnet.image_io import write_image
    from lvnet.phantom import make_phantom

    sys.path.insert(0, str(TESTING))
    from corpus.dicom_files import HU_OFFSET, series

    scan, _ = make_phantom(1, size=size)
    if not stored.startswith(_BASE):
        write_image(scan, folder / stored)
        return folder / stored
    values = np.clip(scan.array + HU_OFFSET, 0, 4095).astype(np.uint16)
    return series(folder / "ct", values, syntax=stored)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--size", type=int, nargs=3, default=(100, 512, 512), help="of the scan, z y x")
    parser.add_argument("--stored", nargs="+", choices=list(STORED), default=list(STORED))
    parser.add_argument("--rounds", type=int, default=3)


def run(options: argparse.Namespace) -> Dict[str, Any]:
    """Runs all measurements."""
    if options.quick:
        options.size, options.rounds = (8, 64, 64), 1
    rows: Dict[str, Dict[str, Any]] = {}
    for name in options.stored:
        with tempfile.TemporaryDirectory() as folder:
            path = store(Path(folder), tuple(options.size), STORED[name])

            def once(way: str, path: Path = path) -> Dict[str, Any]:
                task = {"path": str(path), "way": way, "repeats": 1 if options.quick else 3}
                return harness.child(__file__, task, options.threads)

            found, failed = harness.in_turns({way: partial(once, way) for way in WAYS}, options.rounds)
        rows[name] = {
            "seconds": {way: harness.median(runs) for way, runs in found.items()},
            "spread": {way: harness.spread(runs) for way, runs in found.items()},
            "same": len({run["checksum"] for runs in found.values() for run in runs}) == 1,
            "left_out": failed,
        }
    return {"size": "x".join(map(str, options.size)), "rows": rows}


def table(result: Mapping[str, Any]) -> str:
    """The table for the README."""
    lines = []
    for name, row in result["rows"].items():
        seconds = row["seconds"]
        if len(seconds) < 2:
            lines.append((name, "-", "-", "; ".join(row["left_out"].values())))
            continue
        ratio = seconds["SimpleITK"] / seconds["ours"]
        lines.append((name, f"{seconds['ours']:.2f}", f"{seconds['SimpleITK']:.2f}", f"{ratio:.1f}"))
    return harness.markdown((f"{result['size']} voxels as", "ours, s", "SimpleITK, s", "times ours"), lines, result)


if __name__ == "__main__":
    sys.exit(harness.main(__file__, measure, run, add_options, table))
