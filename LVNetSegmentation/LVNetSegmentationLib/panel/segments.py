"""The choice of a segment of a segmentation, or of a label of a label map."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple, Union

from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..choosing import AND, liverWithTumours, namesOf, proposedLivers
from ..masks import labelValues
from .volumes import withVolume

#: Identifier of a segment or value of a label, and its name.
Entry = Tuple[Union[str, int], str]


class SegmentChooser:
    """A combo box of the segments of a node."""

    def __init__(self, comboBox: Any) -> None:
        self._box = comboBox
        self._identifiers: List[Union[str, int]] = []
        self._names: List[str] = []
        self._shown: Optional[List[Entry]] = None
        self._seen: Optional[tuple] = None

    def offer(self, node: Any) -> None:
        """Fills the box with the segments of a node; a segment of the same name stays chosen."""
        state = _stateOf(node)
        if state is not None and state == self._seen:
            return
        self._seen = state
        entries = segmentsOf(node)
        if entries == self._shown:
            return
        wanted = self._chosenName() if self._shown else "liver"
        self._shown = entries
        self._identifiers = [identifier for identifier, _name in entries]
        self._names = names = [name for _identifier, name in entries]
        self._box.clear()
        for name in names:
            self._box.addItem(name)
        self._box.enabled = len(names) > 1
        if names:
            lower = [name.lower() for name in names]
            together = wanted.lower() == "liver" and AND in str(entries[0][0])
            known = wanted.lower() in lower and not together
            self._box.currentIndex = lower.index(wanted.lower()) if known else 0

    def tellVolumes(self, volumes: Dict[str, float]) -> None:
        """Writes volumes behind the names.

        Args:
            volumes: millilitres by the identifier of a segment; those that are missing are not known yet.
        """
        for index, (identifier, name) in enumerate(zip(self._identifiers, self._names)):
            known = volumes.get(str(identifier))
            if self._box.itemText(index) != withVolume(name, known):
                self._box.setItemText(index, withVolume(name, known))

    def _chosenName(self) -> str:
        index = self._box.currentIndex
        return self._names[index] if 0 <= index < len(self._names) else ""

    def count(self) -> int:
        return len(self._identifiers)

    def chosen(self) -> Optional[Union[str, int]]:
        """The identifier of the chosen segment, or the value of the chosen label; None where there is none."""
        index = self._box.currentIndex
        return self._identifiers[index] if 0 <= index < len(self._identifiers) else None


def _stateOf(node: Any) -> Optional[tuple]:
    """Changes whenever the voxels of a label map do; None for everything else, which is cheap to read."""
    if node is None or node.IsA("vtkMRMLSegmentationNode") or node.GetImageData() is None:
        return None
    return node.GetID(), node.GetImageData().GetMTime()


def segmentsOf(node: Any) -> List[Entry]:
    """Identifier and name of every segment; of every label value that occurs in a label map."""
    if node is None:
        return []
    if not node.IsA("vtkMRMLSegmentationNode"):
        return _labelEntries(labelsOf(node))
    names = namesOf(node)
    whole = liverWithTumours(names)
    # First, and so chosen: tumours in the liver count as liver, unless somebody asks for one of them.
    together: List[Entry] = [(AND.join(whole), _("liver with its tumours"))] if whole else []
    return together + list(names.items())


def _labelEntries(values: List[int]) -> List[Entry]:
    """A label map says only numbers: what public data sets call them stands beside."""
    livers = proposedLivers(values)
    entries: List[Entry] = []
    for joined, sets in livers.items():
        if AND in joined:
            words = _("labels {values} (liver with tumours in {sets})")
            entries.append((joined, words.format(values=joined.replace(AND, f" {AND} "), sets=", ".join(sets))))
    for value in values:
        sets = livers.get(str(value), [])
        words = _("label {value} (liver in {sets})") if sets and len(values) > 1 else _("label {value}")
        entries.append((value, words.format(value=value, sets=", ".join(sets))))
    return entries


def labelsOf(labelMapNode: Any) -> List[int]:
    """The values above 0 of a label map."""
    image = labelMapNode.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None:
        return []
    return [value for value in labelValues(vtk_to_numpy(scalars)) or [] if value > 0]
