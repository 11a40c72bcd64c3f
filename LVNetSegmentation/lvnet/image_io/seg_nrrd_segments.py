"""Reading the individual segments of a .seg.nrrd, also overlapping ones, as Slicer 4.10 to 5.x writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import SimpleITK as sitk  # noqa: N813

from ..errors import ImageError
from ..progress import silent
from ..volume import Segment
from . import itk
from .grid import check_grid, check_size
from .nrrd import open_nrrd, read_nrrd
from .overlaps import Overlaps
from .source import Source

_FIELD = re.compile(r"Segment([0-9]{1,6})_(ID|Name|LabelValue|Layer|Tags)")
_LONGEST_NAME = 200
#: "Tissue" is Slicer's default terminology for a segment that the user has not specified.
_SAYS_NOTHING = ("", "Tissue")


class _Entry(NamedTuple):
    segment: Segment
    layer: int


def read_named_layers(name: str, path: Path) -> Optional[Tuple[Source, Tuple[Segment, ...]]]:
    """Reads an NRRD file that describes segments.

    Args:
        name: the file's name for messages.
        path: the file.

    Returns:
        The voxels and the segments, or None for a file without segments.  With one layer, voxels are
        the file's label values; with several, each value represents a combination of segments.

    Raises:
        ImageError: the file is damaged, or a fractional label map.
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
    image = itk.read_whole(name, reader)  # keep a reference while its voxels are viewed
    values = sitk.GetArrayViewFromImage(image)
    if values.dtype.kind not in "iu":
        raise ImageError(f"{name} contains a fractional label map; export it from Slicer as a binary label map")
    masks = Overlaps(name, values.shape[:3])
    for index, plane in enumerate(values):
        for number, entry in enumerate(entries):
            mask = plane[..., entry.layer] == entry.segment.value
            if mask.any():
                masks.add(index, mask, number)
    stack, segments = masks.finish([entry.segment for entry in entries])
    return Source(stack, *grid), segments


def _entries(reader: sitk.ImageFileReader, layers: int) -> List[_Entry]:
    found: Dict[int, Dict[str, str]] = {}
    for key in reader.GetMetaDataKeys():
        match = _FIELD.fullmatch(key)
        if match:
            found.setdefault(int(match.group(1)), {})[match.group(2)] = reader.GetMetaData(key).strip()
    entries = []
    for index, (_, fields) in enumerate(sorted(found.items())):
        # Before Slicer 4.11 every segment was a layer of its own with the value 1; the header stored neither.
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
    """The type's meaning in Slicer's terminology entry: context~category~type~..., each code^scheme^meaning."""
    for tag in tags.split("|"):
        key, _, entry = tag.partition(":")
        parts = entry.split("~")
        if key.strip() in ("TerminologyEntry", "Segmentation.TerminologyEntry") and len(parts) > 2:
            meaning = parts[2].split("^")[-1].strip()
            return "" if meaning in _SAYS_NOTHING else meaning[:_LONGEST_NAME]
    return ""
