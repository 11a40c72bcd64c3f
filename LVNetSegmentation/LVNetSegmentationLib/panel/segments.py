"""The choice of a segment of a segmentation, or of a label of a label map."""

from __future__ import annotations

from typing import Any, List, Optional

from slicer.i18n import tr as _


class SegmentChooser:
    """A combo box of the segments of a node."""

    def __init__(self, comboBox: Any) -> None:
        self._box = comboBox
        self._identifiers: List[str] = []
        self._shown: Optional[list] = None

    def offer(self, node: Any) -> None:
        """Fills the box with the segments of a node; a segment of the same name stays chosen."""
        entries = segmentsOf(node)
        if entries == self._shown:
            return
        wanted = self._box.currentText if self._shown else "liver"
        self._shown = entries
        self._identifiers = [identifier for identifier, _name in entries]
        names = [name for _identifier, name in entries]
        self._box.clear()
        for name in names:
            self._box.addItem(name)
        self._box.enabled = len(names) > 1
        if names:
            lower = [name.lower() for name in names]
            self._box.currentIndex = lower.index(wanted.lower()) if wanted.lower() in lower else 0

    def count(self) -> int:
        return len(self._identifiers)

    def chosen(self) -> Optional[str]:
        """The identifier of the chosen segment; None where there is none, or for every label of a label map."""
        index = self._box.currentIndex
        return self._identifiers[index] or None if 0 <= index < len(self._identifiers) else None


def segmentsOf(node: Any) -> list:
    """Identifier and name of every segment; one entry without identifier for a label map."""
    if node is None:
        return []
    if not node.IsA("vtkMRMLSegmentationNode"):
        return [("", _("every label"))]
    segmentation = node.GetSegmentation()
    identifiers = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return [(identifier, segmentation.GetSegment(identifier).GetName()) for identifier in identifiers]
