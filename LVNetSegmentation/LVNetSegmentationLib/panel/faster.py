"""Shows how this computer computes the network, and offers to install Numba where that would be faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from lvnet.acceleration.compute_path import NUMBA
from lvnet.errors import LVNetError
from slicer.i18n import tr as _

from ..numbainstall import downloadSize, numbaVersion
from .context import PanelContext, Widgets
from .wording import sentence

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath

    from ..logic import LVNetSegmentationLogic

#: A run of so many seconds is slow enough to mention Numba beside its duration.
SLOW_SECONDS = 10.0


class FasterSection:
    """A line in `Advanced`, and a hint beside the duration of a slow run; nothing is installed without a click."""

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: what is around this section.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._path: Optional[ComputePath] = None
        #: Result of an installation; shown until the next run.
        self._line = ""
        self._working = self._gone = False
        for button in (ui.numbaButton, ui.fasterButton):
            button.connect("clicked(bool)", self._onInstall)

    def noteComputePath(self, computePath: ComputePath) -> None:
        """Takes in how the worker computes the network."""
        before, self._path = self._path, computePath
        if not self._working:
            self._line = ""
        if computePath.left_out and (before is None or before.left_out != computePath.left_out):
            self._panel.addToLog(
                _("Left out, so that a run takes longer: {reason}").format(reason=computePath.left_out)
            )

    def refresh(self) -> None:
        """Shows how the network is computed, and offers Numba where that would be faster."""
        ui, line = self._ui, sentence(self._line)
        # Looked up on disk, so once.
        missing = self._logic.numbaIsMissing()
        helps = self._path is not None and self._path.faster_with == "numba"
        offered = helps and not self._working and missing
        slow = (self._panel.runSeconds or 0.0) >= SLOW_SECONDS and not self._panel.busy
        size = downloadSize()
        ui.numbaInfoLabel.text = line or sentence(self._state(missing))
        ui.numbaButton.text = _("Install (about {size} MB)").format(size=size)
        ui.numbaButton.visible = offered
        ui.numbaButton.enabled = not self._panel.busy
        ui.fasterLabel.text = line or _("Faster on this computer: install Numba (about {size} MB)").format(size=size)
        ui.fasterLabel.visible = bool(line) or (offered and slow)
        ui.fasterButton.visible = offered and slow and not line

    def stop(self) -> None:
        """Called before the panel is destroyed, perhaps while pip is running, during which Slicer handles events."""
        self._gone = True

    def _state(self, missing: bool) -> str:
        path = self._path
        if not missing:
            if path is not None and path.left_out:
                return _("installed, but left out: {reason}").format(reason=path.left_out)
            if path is not None and path.name == NUMBA:
                return _("version {version}, its kernels are used").format(version=numbaVersion())
            return _("version {version}").format(version=numbaVersion())
        if path is not None and path.faster_with:
            return _("not installed; with it, a run on this computer takes a fraction of the time")
        return _("not installed; it would not help here") if path is not None else _("not installed")

    def _onInstall(self, _checked: bool = False) -> None:
        if self._working or self._panel.busy or not self._logic.numbaIsMissing():
            return
        self._working = True
        self._showStatus(_("Installing Numba..."))
        try:
            self._logic.installNumba()
        except LVNetError as error:
            self._end(str(error))
            return
        if self._gone:
            return
        self._showStatus(_("Numba is installed; its kernels are compiled and tried, which takes some seconds..."))
        self._logic.paceAsync(onDone=self._onTried, onError=self._onUntried, **self._panel.settings())

    def _onTried(self, secondsPerLitre: Optional[float], computePath: ComputePath) -> None:
        self._panel.notePace(secondsPerLitre)
        self._panel.noteComputePath(computePath)
        if computePath.name == NUMBA:
            self._end(_("Numba works; runs on the CPU use its kernels from now on"))
        elif computePath.left_out:
            self._end(
                _("Numba is installed, but its kernels are left out ({reason}); everything works as before").format(
                    reason=computePath.left_out
                )
            )
        else:
            self._end(_("Numba is installed; it is not used with these settings"))

    def _onUntried(self, reason: str) -> None:
        self._end(_("Numba is installed, but was not tried ({reason})").format(reason=reason))

    def _showStatus(self, line: str) -> None:
        self._line = line
        self._panel.addToLog(sentence(line))
        self._panel.refresh()

    def _end(self, line: str) -> None:
        self._working = False
        if not self._gone:
            self._showStatus(line)
