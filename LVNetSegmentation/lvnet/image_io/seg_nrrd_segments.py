"""The segments of a .seg.nrrd one by one, overlapping ones too, as Slicer 4.10 to 5.x writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import SimpleITK as sitk  # noqa: N813

from ..errors import ImageError
from ..progress import silent
from ..volume import Segment
from . import itk
from .grid import check_grid, check_size
from .nrrd import open_nrrd, read_nrrd
from .source import Source
from .voxels import VoxelStack

_FIELD = re.compile(r"Segment([0-9]{1,6})_(ID|Name|LabelValue|Layer|Tags)")
_MOST_COMBINATIONS = 32767
_LONGEST_NAME = 200
#: "Tissue" is what Slicer calls a segment of which nobody has said what it is.
_SAYS_NOTHING = ("", "Tissue")


class _Entry(NamedTuple):
    segment: Segment
    layer: int


def read_named_layers(name: str, path: Path) -> Optional[Tuple[Source, Tuple[Segment, ...]]]:
    """Reads an NRRD file that names segments.

    Args:
        name: the file's name for messages.
        path: the file.

    Returns:
        The voxels and the segments, or None for a file that names none.  With one layer voxels are
        the file's label values; with several, each stands for a combination of segments.

    Raises:
        ImageError: the file is damaged, or holds fractions.
    """
    reader, _ = open_nrrd(name, path)
    layers = reader.GetNumberOfComponents()
    entries = _entries(reader, layers)
    if not entries:
        return None
    if layers == 1:
        return read_nrrd(name, path, silent), tuple(
            Segment(e.segment.value, e.segment.name, e.segment.meaning, (e.segment.value,)) for e in entries
        )
    check_size(name, reader.GetSize())
    grid = itk.grid_of(reader)
    check_grid(name, *grid)
    values = sitk.GetArrayViewFromImage(itk.read_whole(name, reader))
    if values.dtype.kind not in "iu":
        raise ImageError(f"{name} holds fractions rather than labels; export it from Slicer as a binary label map")
    stack, segments = _combined(name, values, entries, layers)
    return Source(stack, *grid), segments


def _entries(reader: sitk.ImageFileReader, layers: int) -> List[_Entry]:
    found: Dict[int, Dict[str, str]] = {}
    for key in reader.GetMetaDataKeys():
        match = _FIELD.fullmatch(key)
        if match:
            found.setdefault(int(match.group(1)), {})[match.group(2)] = reader.GetMetaData(key).strip()
    entries = []
    for index, (_, fields) in enumerate(sorted(found.items())):
        # Before 4.11 every segment was a layer of its own, with the value 1, and neither was written down.
        value, layer = _number(fields.get("LabelValue"), 1), _number(fields.get("Layer"), min(index, layers - 1))
        title = "".join(c if c.isprintable() else " " for c in fields.get("Name", "") or fields.get("ID", ""))
        if 0 <= layer < layers and value != 0:
            entries.append(_Entry(Segment(value, title[:_LONGEST_NAME], _meaning(fields.get("Tags", ""))), layer))
    return entries


def _number(text: Optional[str], otherwise: int) -> int:
    try:
        return int(text) if text else otherwise
    except ValueError:
        return otherwise


def _meaning(tags: str) -> str:
    """What the type in Slicer's terminology entry is called: context~category~type~..., each code^scheme^meaning."""
    for tag in tags.split("|"):
        key, _, entry = tag.partition(":")
        parts = entry.split("~")
        if key.strip() in ("TerminologyEntry", "Segmentation.TerminologyEntry") and len(parts) > 2:
            meaning = parts[2].split("^")[-1].strip()
            return "" if meaning in _SAYS_NOTHING else meaning[:_LONGEST_NAME]
    return ""


def _combined(
    name: str, values: np.ndarray, entries: Sequence[_Entry], layers: int
) -> Tuple[VoxelStack, Tuple[Segment, ...]]:
    """One value for each combination of segments that occurs.

    Args:
        name: the file's name for messages.
        values: (z, y, x, layer) whole numbers.
        entries: the segments.
        layers: how many there are.
    """
    used = [np.unique([e.segment.value for e in entries if e.layer == layer]) for layer in range(layers)]
    # By layer: the number of every (number so far, rank of the layer's value) that has occurred.
    numbers: List[Dict[Tuple[int, int], int]] = [{(0, 0): 0} for _ in range(layers)]
    stack = VoxelStack(values.shape[:3])
    for index, plane in enumerate(values):
        combined = np.zeros(plane.shape[:2], np.int64)
        for layer in range(layers):
            if used[layer].size:
                combined = _numbered(combined, _ranks(plane[..., layer], used[layer]), numbers[layer])
        if combined.max() > _MOST_COMBINATIONS:
            raise ImageError(f"{name}: its segments overlap in more ways than can be told apart; export fewer of them")
        stack.put(index, combined.astype(np.int16))
    members = _members(numbers, used, layers)
    segments = []
    for segment, layer in entries:
        voxels = tuple(sorted(number for number, held in members.items() if held[layer] == segment.value))
        segments.append(Segment(segment.value, segment.name, segment.meaning, voxels))
    return stack, tuple(segments)


def _ranks(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """1 and on for the used values, 0 for all others."""
    places = np.minimum(np.searchsorted(used, values), used.size - 1)
    return np.where(used[places] == values, places + 1, 0)


def _numbered(before: np.ndarray, ranks: np.ndarray, numbers: Dict[Tuple[int, int], int]) -> np.ndarray:
    wide = int(ranks.max()) + 1
    keys = before * wide + ranks
    occurring = np.flatnonzero(np.bincount(keys.ravel()))
    table = np.zeros(int(occurring[-1]) + 1, np.int64)
    for key in occurring:
        table[key] = numbers.setdefault((int(key) // wide, int(key) % wide), len(numbers))
    return table[keys]


def _members(
    numbers: Sequence[Dict[Tuple[int, int], int]], used: Sequence[np.ndarray], layers: int
) -> Dict[int, List[int]]:
    """For every number of the last layer, the value that it has in each layer; 0 where none."""
    held: Dict[int, List[int]] = {0: []}
    for layer in range(layers):
        values = used[layer]
        if not values.size:
            held = {number: [*before, 0] for number, before in held.items()}
            continue
        held = {
            number: [*held[before], int(values[rank - 1]) if rank else 0]
            for (before, rank), number in numbers[layer].items()
        }
    return held
