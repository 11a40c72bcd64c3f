"""The chooser for a segment of a segmentation, or for a label of a label map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Union

import slicer
from lvnet.evaluation.organ_names import LIVER, LIVER_TUMOUR, canonical, organ
from lvnet.evaluation.reference_sets import KNOWN_ORGANS, reference_set
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from ..choosing import AND, liverWithTumours, namesOf, numbersIn, proposedLivers
from ..masks import labelValues
from .volumes import withVolume

if TYPE_CHECKING:
    from ..interfaces import QComboBox
    from ..masks import ComparedNode


class Entry(NamedTuple):
    """One choice in the combo box.

    Attributes:
        identifier: of a segment, or the value of a label; several are joined by `+`.
        name: as it is shown.
        organ: its organ, as in lvnet.evaluation.organ_names; empty if unknown.
    """

    identifier: Union[str, int]
    name: str
    organ: str = ""


class SegmentChooser:
    """A combo box of the segments of a node."""

    def __init__(self, comboBox: QComboBox) -> None:
        self._box = comboBox
        self._entries: List[Entry] = []
        self._shown: Optional[List[Entry]] = None
        self._seen: Optional[tuple] = None
        #: Whether the node has only label values, no names.
        self.numbered = False

    def offer(self, node: Optional[ComparedNode], dataSet: str = "", wanted: str = LIVER) -> None:
        """Fills the box with the segments of a node; a segment of the same name stays selected.

        Args:
            node: a segmentation, a label map or None.
            dataSet: the public data set whose label values the node has, if it has no names; empty for none.
            wanted: the organ to select by these values; if it is missing, nothing is selected.
        """
        state = _stateOf(node, dataSet)
        if state is not None and state == self._seen:
            return
        self._seen = state
        numbers = _numbersOf(node)
        self.numbered = bool(numbers)
        byNumber = bool(dataSet and numbers)
        entries = _entriesByNumber(numbers, dataSet) if byNumber else _entriesOf(node, numbers)
        if entries == self._shown:
            return
        before = self._chosenName() if self._shown else "liver"
        self._shown = entries
        self._entries = entries
        self._box.clear()
        for entry in entries:
            self._box.addItem(entry.name)
        self._box.enabled = len(entries) > 1 or byNumber
        if byNumber:
            organs = [entry.organ for entry in entries]
            self._box.currentIndex = organs.index(wanted) if wanted in organs else -1
        elif entries:
            lower = [entry.name.lower() for entry in entries]
            together = before.lower() == "liver" and AND in str(entries[0].identifier)
            known = before.lower() in lower and not together
            self._box.currentIndex = lower.index(before.lower()) if known else 0

    def showVolumes(self, volumes: Dict[str, float]) -> None:
        """Appends the volumes to the names.

        Args:
            volumes: in ml by segment identifier; missing ones are not known yet.
        """
        for index, entry in enumerate(self._entries):
            known = volumes.get(str(entry.identifier))
            if self._box.itemText(index) != withVolume(entry.name, known):
                self._box.setItemText(index, withVolume(entry.name, known))

    def _chosen(self) -> Optional[Entry]:
        index = self._box.currentIndex
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def _chosenName(self) -> str:
        entry = self._chosen()
        return "" if entry is None else entry.name

    def count(self) -> int:
        return len(self._entries)

    def chosen(self) -> Optional[Union[str, int]]:
        """The identifier of the chosen segment, or the value of the chosen label; None if there is none."""
        entry = self._chosen()
        return None if entry is None else entry.identifier

    def organ(self) -> str:
        """The chosen organ; the liver if it is unknown."""
        entry = self._chosen()
        return entry.organ if entry is not None and entry.organ in KNOWN_ORGANS else LIVER


def _stateOf(node: Optional[ComparedNode], dataSet: str) -> Optional[tuple]:
    """Differs whenever the voxels of a label map have changed; None for all else, which is cheap to read."""
    if node is None or node.IsA("vtkMRMLSegmentationNode") or node.GetImageData() is None:
        return None
    return node.GetID(), node.GetImageData().GetMTime(), dataSet


def _entriesOf(node: Optional[ComparedNode], numbers: Dict[Union[str, int], int]) -> List[Entry]:
    """Every segment, or every label value that occurs in a label map."""
    if node is None:
        return []
    if not node.IsA("vtkMRMLSegmentationNode"):
        return _labelEntries(list(numbers.values()))
    names = namesOf(node)
    whole = liverWithTumours(names)
    # First, and thus selected: tumours in the liver count as liver, unless the user chooses a single segment.
    together = [Entry(AND.join(whole), _("liver with its tumours"), LIVER)] if whole else []
    return together + [Entry(identifier, name, organ(name, "", KNOWN_ORGANS)) for identifier, name in names.items()]


def _numbersOf(node: Optional[ComparedNode]) -> Dict[Union[str, int], int]:
    """Label values by identifier, for a node without names; empty for a node with names."""
    if node is None:
        return {}
    if node.IsA("vtkMRMLSegmentationNode"):
        return numbersIn(namesOf(node))
    return {value: value for value in labelsOf(node)}


def _entriesByNumber(numbers: Dict[Union[str, int], int], dataSet: str) -> List[Entry]:
    names = reference_set(dataSet)
    liver = [identifier for identifier, value in numbers.items() if names.get(value) in (LIVER, LIVER_TUMOUR)]
    entries: List[Entry] = []
    if len(liver) > 1:
        values = f" {AND} ".join(str(numbers[identifier]) for identifier in liver)
        tumours = any(names[numbers[identifier]] == LIVER_TUMOUR for identifier in liver)
        words = _("liver with its tumours (labels {values})") if tumours else _("liver (labels {values})")
        entries.append(Entry(AND.join(str(identifier) for identifier in liver), words.format(values=values), LIVER))
    for identifier, value in numbers.items():
        name = names.get(value, "")
        words = _("{name} (label {value})") if name else _("label {value}")
        entries.append(Entry(identifier, words.format(name=name, value=value), canonical(name)))
    return entries


def _labelEntries(values: List[int]) -> List[Entry]:
    """The labels of a label map, with their meaning in public data sets."""
    livers = proposedLivers(values)
    entries: List[Entry] = []
    for joined, sets in livers.items():
        if AND in joined:
            words = _("labels {values} (liver with tumours in {sets})")
            entries.append(Entry(joined, words.format(values=joined.replace(AND, f" {AND} "), sets=", ".join(sets))))
    for value in values:
        sets = livers.get(str(value), [])
        words = _("label {value} (liver in {sets})") if sets and len(values) > 1 else _("label {value}")
        entries.append(Entry(value, words.format(value=value, sets=", ".join(sets))))
    return entries


def labelsOf(labelMapNode: slicer.vtkMRMLLabelMapVolumeNode) -> List[int]:
    """The values above 0 of a label map."""
    image = labelMapNode.GetImageData()
    scalars = None if image is None else image.GetPointData().GetScalars()
    if scalars is None:
        return []
    return [value for value in labelValues(vtk_to_numpy(scalars)) or [] if value > 0]
