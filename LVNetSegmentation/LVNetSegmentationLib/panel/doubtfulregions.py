"""The row below the findings: regions in which the network was unsure, as an overlay and one by one."""

from __future__ import annotations

from typing import Optional

import slicer
from slicer.i18n import tr as _

from ..doubtfuloverlay import addOverlay, removeOverlay
from ..outcome import DoubtfulRegions
from ..views import bringIntoSight, jumpTo
from .context import PanelContext, Widgets


class DoubtfulRegionsRow:
    """Shows the doubtful regions of the result in the panel; hidden if it has none."""

    def __init__(self, ui: Widgets, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        panel: the panel around this row.
        """
        self._ui = ui
        self._panel = panel
        self._doubtful: Optional[DoubtfulRegions] = None
        self._volumeNode: Optional[slicer.vtkMRMLScalarVolumeNode] = None
        self._overlay: Optional[slicer.vtkMRMLSegmentationNode] = None
        #: Index of the region that the views were centred on; None before the first.
        self._index: Optional[int] = None
        ui.showDoubtfulButton.connect("clicked(bool)", self._onShow)
        ui.nextDoubtfulButton.connect("clicked(bool)", self._onNext)
        self.refresh()

    def show(self, volumeNode: slicer.vtkMRMLScalarVolumeNode, doubtful: Optional[DoubtfulRegions]) -> None:
        """Shows the regions of another result.

        Args:
            volumeNode: the volume that was segmented.
            doubtful: None if there are none.
        """
        self.forget()
        self._volumeNode, self._doubtful = volumeNode, doubtful
        self.refresh()

    def forget(self) -> None:
        """Clears the row, and removes the overlay."""
        self.removeOverlay()
        self._volumeNode = self._doubtful = self._index = None
        self.refresh()

    def removeOverlay(self) -> None:
        """Removes the overlay from the scene; accesses no widget."""
        overlay, self._overlay = self._overlay, None
        if overlay is not None:
            removeOverlay(overlay)

    def refresh(self) -> None:
        """Updates the widgets, also when the overlay was removed from the scene."""
        ui, doubtful = self._ui, self._doubtful
        for widget in (ui.showDoubtfulButton, ui.nextDoubtfulButton, ui.doubtfulLabel):
            widget.visible = doubtful is not None
        ui.showDoubtfulButton.checked = self._overlay is not None and self._overlay.GetScene() is not None
        ui.doubtfulLabel.text = "" if doubtful is None else describe(doubtful, self._index)

    def _onShow(self, shown: bool) -> None:
        self.removeOverlay()
        if shown and self._doubtful is not None and self._bringIntoSight():
            self._overlay = addOverlay(self._doubtful, self._volumeNode)
        self.refresh()

    def _onNext(self, _checked: bool = False) -> None:
        if self._doubtful is not None and self._bringIntoSight():
            regions = self._doubtful.regions
            self._index = 0 if self._index is None else (self._index + 1) % len(regions)
            jumpTo(self._volumeNode, regions[self._index].place)
        self.refresh()

    def _bringIntoSight(self) -> bool:
        """Shows the volume, since over another one the regions mean nothing; False if it is gone."""
        if self._volumeNode is None or self._volumeNode.GetScene() is None:
            return False
        self._panel.logHidden(bringIntoSight(self._volumeNode))
        return True


def describe(doubtful: DoubtfulRegions, index: Optional[int]) -> str:
    """The number of regions, or the one in view: `Doubtful region 2 of 5: 13 ml`."""
    regions = doubtful.regions
    if index is not None:
        words = _("Doubtful region {number} of {count}: {volume:.0f} ml")
        return words.format(number=index + 1, count=len(regions), volume=regions[index].volume)
    volume = sum(region.volume for region in regions)
    words = _("{count} doubtful regions: {volume:.0f} ml")
    if len(regions) == 1:
        words = _("1 doubtful region: {volume:.0f} ml")
    return words.format(count=len(regions), volume=volume)
