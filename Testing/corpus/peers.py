"""Reads the test files of pydicom and nibabel, and compares the results with those of these libraries.

`PYTHONPATH=LVNetSegmentation python Testing/corpus/peers.py CACHE` prints the table of docs/dicom.md and fails if a
verdict differs from `peers.json`; `--write` writes that file.  pydicom's files are part of the installed package;
nibabel is installed into the folder CACHE with pip.  (The packages of dcmqi 1.5.7 and highdicom 0.22.0 and 0.28.2 on
PyPI contain no images.)

Every file is copied to a separate folder, together with files of the same name; the folders in `SERIES` are kept
together.  Each is read in a separate process, which is limited to one minute and two gigabytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

NIBABEL = "nibabel==5.4.2"
VERDICTS = Path(__file__).with_name("peers.json")
SECONDS, BYTES = 60, 2 << 30
#: Folders in pydicom's files that are series.
SERIES = tuple(
    f"test_files/dicomdirtests/{name}"
    for name in ("77654033/CT2", "98892001/CT2N", "98892001/CT5N", "98892003/MR1", "98892003/MR2", "98892003/MR700")
)
_NIBABEL_FOLDERS = ("tests/data", "nicom/tests/data", "externals/tests/data", "gifti/tests/data")
#: Extensions of files that are certainly not images.
_SCRIPTS = (".py", ".m", ".rst", ".txt", ".gitignore")


class PeersMissingError(Exception):
    """A package is not available."""


class Given(NamedTuple):
    """One test file, or a folder of them.

    Attributes:
        name: of the package and of the file in it.
        path: of the file or folder.
    """

    name: str
    path: Path


def package(name: str) -> Path:
    """The folder of a package.

    Raises:
        PeersMissingError: it is not installed.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise PeersMissingError(f"{name} is not installed here")
    return Path(found.origin).parent


def fetch(cache: Path) -> None:
    """Installs nibabel into a folder and adds the folder to the import path.

    Raises:
        PeersMissingError: it is not available.
    """
    if not (cache / "nibabel").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(cache), NIBABEL]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise PeersMissingError(f"{NIBABEL} cannot be had: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    if str(cache) not in sys.path:
        sys.path.append(str(cache))


def files(cache: Path) -> Iterator[Given]:
    """Every test file."""
    data = package("pydicom") / "data"
    fetch(cache)
    nibabel = package("nibabel")
    places = [("pydicom", data, folder) for folder in ("test_files", "charset_files")]
    places += [("nibabel", nibabel, folder) for folder in _NIBABEL_FOLDERS]
    for owner, root, folder in places:
        if not (root / folder).is_dir():
            raise PeersMissingError(f"{owner} that is installed here lacks {folder}")
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not path.name.endswith(_SCRIPTS) and "__pycache__" not in path.parts:
                yield Given(f"{owner}/{path.relative_to(root).as_posix()}", path)
    for folder in SERIES:
        yield Given(f"pydicom/{folder}/", data / folder)


# One file.


def verdict(given: Given) -> str:
    """The result of reading it: `read, as ...`, `refused: ...`, or a crash, a hang or a traceback."""
    mother, child = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(child, given))
    process.start()
    child.close()
    try:
        said = str(mother.recv()) if mother.poll(SECONDS) else "hangs"
    except EOFError:
        said = "crashes"
    process.kill()
    process.join()
    return said


def _answer(pipe: Any, given: Given) -> None:
    from lvnet.errors import LVNetError
    from lvnet.image_io import read_image

    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES, taken + BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = _alone(given.path, Path(folder))
        try:
            volume = read_image(path)
        except LVNetError as error:
            # Without the name of the folder, which differs in every run.
            said = f"refused: {error}".replace(str(path), "FILE").replace(folder, "FOLDER")
            pipe.send(said if "\n" not in said else f"several lines: {said}")
        except BaseException as error:
            pipe.send(f"traceback: {error!r}")
        else:
            pipe.send(f"read, {_compared(volume, path)}")


def _alone(path: Path, folder: Path) -> Path:
    if path.is_dir():
        return Path(shutil.copytree(path, folder / path.name))
    stem = path.name.split(".")[0]
    for other in path.parent.iterdir():
        if other.is_file() and other.name.split(".")[0] == stem and not other.name.endswith(_SCRIPTS):
            shutil.copy(other, folder)
    return folder / path.name


def _compared(volume: Any, path: Path) -> str:
    """Whether the library that the file comes from reads the same values."""
    matrix: Optional[np.ndarray]
    try:
        kind, array, matrix = _by_nibabel(path) if ".nii" in path.name else _by_pydicom(path)
    except Exception as error:
        return f"not compared: {type(error).__name__}"
    said = kind
    if len(array) > len(volume.array) and any("only the longest part was used" in note for note in volume.notes):
        # The remaining part may be the lower or the upper one.
        part = (
            slice(len(volume.array))
            if np.allclose(volume.origin, matrix[:, 3], atol=1e-2)
            else slice(-len(volume.array), None)
        )
        array, matrix, said = array[part], None, f"{kind}, the longest part"
    if array.shape != volume.array.shape:
        return f"other than {kind}: size {volume.array.shape} and {array.shape}"
    off = np.abs(np.nan_to_num(array, nan=-1024.0) - volume.array)
    padding = (volume.array == -1024) & (array < -1500)
    if padding.any() and any("marked as padding" in note for note in volume.notes):
        off[padding], said = 0, f"{said}, but padding is air"
    if not np.allclose(off, 0, atol=1e-3 * max(1.0, float(np.abs(volume.array).max()) / 1e3)):
        return f"other than {kind}: {np.count_nonzero(off)} voxels, up to {off.max():g}"
    ours = np.asarray(volume.direction).reshape(3, 3) * np.asarray(volume.spacing[::-1])
    if matrix is not None and not (
        np.allclose(ours, matrix[:, :3], atol=1e-3) and np.allclose(volume.origin, matrix[:, 3], atol=1e-2)
    ):
        return f"other than {kind}: grid"
    return f"as {said}"


def _by_nibabel(path: Path) -> Tuple[str, np.ndarray, np.ndarray]:
    import nibabel

    image = nibabel.load(path)
    data = np.asarray(image.dataobj, dtype=np.float64)
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return "nibabel", data.T, (np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine)[:3]


def _by_pydicom(path: Path) -> Tuple[str, np.ndarray, np.ndarray]:
    import pydicom

    planes: List[Tuple[np.ndarray, np.ndarray]] = []
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        data = pydicom.dcmread(file, force=True)
        pixels = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        planes.append((np.asarray(data.ImagePositionPatient, float), pixels))
    axes = np.asarray(data.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(*axes)
    planes.sort(key=lambda plane: float(plane[0] @ normal))
    down, right = (float(step) for step in data.PixelSpacing)
    first, last = planes[0][0], planes[-1][0]
    apart = (last - first) / (len(planes) - 1) if len(planes) > 1 else normal * float(data.SliceThickness or 1)
    matrix = np.stack([axes[0] * right, axes[1] * down, apart, first], axis=1)
    return "pydicom", np.stack([pixels for _, pixels in planes]), matrix


# The table.


def kind_of(said: str) -> str:
    """A verdict without the details of the file."""
    if said.startswith("read, not compared"):
        return "read; the library itself cannot, or tells no place"
    if said.startswith("read"):
        return said
    words = (
        ("other modalities", "a modality other than CT"), ("without an image", "DICOM without an image"),
        ("localizers", "a localizer"), ("without a position", "no position"), ("without positions", "no positions"),
        ("damaged", "damaged"), ("no DICOM", "not an image format that is read"), ("4D image", "a 4D image"),
        ("not a supported image", "not an image format that is read"), ("NIfTI-2", "NIfTI-2"),
    )  # fmt: skip
    return next((f"refused: {kind}" for word, kind in words if word in said), said.split(";")[0].replace("FILE ", ""))


def table(verdicts: Dict[str, str]) -> str:
    """The table in docs/dicom.md."""
    owners = ("pydicom", "nibabel")
    counts = {owner: Counter(kind_of(v) for name, v in verdicts.items() if name.startswith(owner)) for owner in owners}
    kinds = sorted(
        {*counts["pydicom"], *counts["nibabel"]},
        key=lambda kind: (kind[:4] != "read", -sum(counts[owner][kind] for owner in owners), kind),
    )
    lines = ["| outcome | pydicom | nibabel |", "|---|---:|---:|"]
    lines += [f"| {kind} | {counts['pydicom'][kind]} | {counts['nibabel'][kind]} |" for kind in kinds]
    return "\n".join(lines)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Reads all files and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, help="folder for nibabel")
    parser.add_argument("--write", action="store_true", help="write peers.json")
    options = parser.parse_args(arguments)
    found = {given.name: verdict(given) for given in files(options.cache)}
    if options.write:
        VERDICTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(table(found))
    known = json.loads(VERDICTS.read_text(encoding="utf-8"))
    other = [name for name in sorted({*known, *found}) if known.get(name) != found.get(name)]
    for name in other:
        print(f"{name}: {found.get(name)}; before: {known.get(name)}", file=sys.stderr)
    return int(bool(other))


if __name__ == "__main__":
    raise SystemExit(main())
