"""The section `Advanced`: PyTorch and log files; the other settings are bound to the parameters by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import qt
from lvnet.errors import LVNetError
from slicer.i18n import tr as _

from .context import PanelContext, Widgets
from .wording import sentence

if TYPE_CHECKING:
    from lvnet.worker.client.job import Job

    from ..logic import LVNetSegmentationLogic


class AdvancedSection:
    """What is rarely needed."""

    def __init__(self, ui: Widgets, logic: LVNetSegmentationLogic, panel: PanelContext) -> None:
        """Args:
        ui: the widgets of the panel by name.
        logic: the module's logic.
        panel: what is around this section.
        """
        self._ui = ui
        self._logic = logic
        self._panel = panel
        self._job: Optional[Job] = None
        ui.torchButton.connect("clicked(bool)", self._onTorch)
        ui.logFolderButton.connect("clicked(bool)", self._onLogFolder)
        ui.keepWarmCheckBox.connect("toggled(bool)", self._onKeepWarm)
        self._showStatus(_("not installed") if logic.torchIsMissing() else _("installed"))

    def refresh(self) -> None:
        missing = self._logic.torchIsMissing()
        self._ui.torchButton.text = _("Install") if missing else _("Check")
        self._ui.torchButton.enabled = self._job is None and not self._panel.busy

    def installTorch(self) -> str:
        """Installs PyTorch where it is missing; its extension asks the user first.

        Returns:
            Why it is still not there; empty if it is.
        """
        reason = ""
        self._showStatus(_("Installing, which takes some minutes..."))
        try:
            # No hourglass: the extension asks first, and a question under an hourglass cannot be answered.
            self._logic.installTorch()
        except LVNetError as error:
            reason = str(error)
        self._showStatus(reason or _("installed"))
        self._panel.addToLog(reason or _("PyTorch is installed"))
        self._panel.refresh()
        return reason

    def _onTorch(self, _checked: bool = False) -> None:
        if self._logic.torchIsMissing():
            self.installTorch()
            return
        self._showStatus(_("Checking..."))
        self._job = self._logic.checkTorchAsync(onDone=self._onChecked, onError=self._onChecked)
        self._panel.refresh()

    def _onChecked(self, reason: str) -> None:
        self._job = None
        self._showStatus(reason)
        self._panel.addToLog(sentence(reason))
        self._panel.refresh()
        self._panel.findDevices()

    def _onKeepWarm(self, keep: bool) -> None:
        self._logic.keepWarm = keep
        if not keep and not self._panel.busy:
            # What it held is free again at once, not only after the next run.
            self._logic.shutdown()

    def _onLogFolder(self, _checked: bool = False) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl("file:///" + self._logic.logFolder(), qt.QUrl.TolerantMode))

    def _showStatus(self, line: str) -> None:
        self._ui.torchInfoLabel.text = sentence(line)
