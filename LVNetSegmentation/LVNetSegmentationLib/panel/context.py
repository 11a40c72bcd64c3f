"""What a section may use of the panel around it; sections do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Protocol

import slicer

if TYPE_CHECKING:
    from lvnet.acceleration import ComputePath

    from ..interfaces import (
        QCheckBox,
        QComboBox,
        QLabel,
        QLineEdit,
        QPlainTextEdit,
        QProgressBar,
        QPushButton,
        QRadioButton,
        QTableWidget,
        Settings,
        ctkCollapsibleButton,
        ctkPathLineEdit,
        qMRMLNodeComboBox,
    )
    from ..parameters import LVNetSegmentationParameterNode


class Widgets(Protocol):
    """The widgets of the .ui file that the sections use, by name."""

    anywayCheckBox: QCheckBox
    applyButton: QPushButton
    batchButton: QPushButton
    batchFormatComboBox: QComboBox
    batchFormatLabel: QLabel
    batchInputLabel: QLabel
    batchInputPathLineEdit: ctkPathLineEdit
    batchOutputLabel: QLabel
    batchOutputPathLineEdit: ctkPathLineEdit
    batchProgressBar: QProgressBar
    batchSeriesLabel: QLabel
    batchSeriesLineEdit: QLineEdit
    batchStatusLabel: QLabel
    batchTableWidget: QTableWidget
    compareButton: QPushButton
    compareCollapsibleButton: ctkCollapsibleButton
    compareStatusLabel: QLabel
    comparedSegmentComboBox: QComboBox
    copyButton: QPushButton
    deviceComboBox: QComboBox
    doubtfulLabel: QLabel
    editButton: QPushButton
    estimateLabel: QLabel
    exportCsvButton: QPushButton
    fasterButton: QPushButton
    fasterLabel: QLabel
    folderRadioButton: QRadioButton
    inputFindingsLabel: QLabel
    inputSelector: qMRMLNodeComboBox
    keepWarmCheckBox: QCheckBox
    logFolderButton: QPushButton
    logTextEdit: QPlainTextEdit
    metricsTableWidget: QTableWidget
    nextDoubtfulButton: QPushButton
    numbaButton: QPushButton
    numbaInfoLabel: QLabel
    outputSelector: qMRMLNodeComboBox
    presetComboBox: QComboBox
    progressBar: QProgressBar
    referenceSegmentComboBox: QComboBox
    referenceSetComboBox: QComboBox
    resultFindingsLabel: QLabel
    sceneRadioButton: QRadioButton
    segmentsLabel: QLabel
    show3DButton: QPushButton
    showDoubtfulButton: QPushButton
    statusLabel: QLabel
    torchButton: QPushButton
    torchInfoLabel: QLabel
    weightsInfoLabel: QLabel
    weightsPathLineEdit: ctkPathLineEdit


class PanelContext(Protocol):
    """Passed to every section; :class:`~LVNetSegmentationLib.panel.modulepanel.Panel` is one."""

    @property
    def parameters(self) -> Optional[LVNetSegmentationParameterNode]:
        """The bound parameter node; None while another module or no scene is open."""

    @property
    def busy(self) -> bool:
        """Whether something is being segmented."""

    @property
    def weightsProblem(self) -> str:
        """Why the chosen weights cannot be used; empty if they can."""

    def currentParameters(self) -> LVNetSegmentationParameterNode:
        """The parameters of the scene, also while another module is open."""

    def setterOf(self, name: str) -> Callable[[str], None]:
        """A slot that sets a parameter to the value it receives."""

    def settings(self) -> Settings:
        """The segmentation settings, as keyword arguments for the logic."""

    def refresh(self) -> None:
        """Updates every section."""

    def addToLog(self, line: str) -> None:
        """Adds a line to the log at the bottom of the panel."""

    def logHidden(self, names: List[str]) -> None:
        """Logs which segmentations were hidden because no slice view shows their volume."""

    def volumesOf(self, segmentationNode: Optional[slicer.vtkMRMLSegmentationNode]) -> Dict[str, float]:
        """Volumes in ml by segment identifier; empty until they are counted."""

    def keepInput(self) -> None:
        """Marks the current input volume as chosen by the user."""

    def torchIsReady(self, report: Callable[[str], None]) -> bool:
        """Whether PyTorch is there, installed now if the user agrees; `report` gets the reason where it is not."""

    @property
    def runSeconds(self) -> Optional[float]:
        """Seconds of the last run of the chosen volume, else the estimate for the next one; None where unknown."""

    def noteComputePath(self, computePath: ComputePath) -> None:
        """Notes how the worker computes the network."""

    def notePace(self, secondsPerLitre: Optional[float]) -> None:
        """Notes how fast this computer is since Numba was installed."""

    def findDevices(self) -> None:
        """Queries the available devices from the worker, without blocking."""
