"""Pictures of the panel with a synthetic abdomen, in light and dark style.

`LVNET_SCREENSHOTS=FOLDER` saves them in a folder; those of the repository are in Resources/Screenshots.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from drawing import beside, dark_palette, slice_picture
from PySide6 import QtGui

WIDTH = 420
LIVER, REFERENCE = (221, 130, 101), (80, 180, 255)


@pytest.fixture
def folder(tmp_path) -> Path:
    path = Path(os.environ.get("LVNET_SCREENSHOTS") or tmp_path)
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def gallery(bench, slicer, folder) -> Gallery:
    before = slicer.qt_application.palette()
    yield Gallery(bench, folder)
    slicer.qt_application.setPalette(before)


class Gallery:
    """Takes each picture twice, in light and dark style."""

    def __init__(self, bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.application = bench.slicer.qt_application
        self.palettes = {"": self.application.palette(), "-dark": dark_palette()}

    def grab(self, *sections: str) -> QtGui.QPixmap:
        """The panel with only some sections open, as high as necessary."""
        for name in ("segment", "compare", "batch", "advanced", "log"):
            getattr(self.bench.ui, f"{name}CollapsibleButton").collapsed = name not in sections
        parent = self.bench.widget.parent
        parent.resize(WIDTH, 2000)
        self.bench.events(0.05)
        parent.resize(WIDTH, parent.layout().totalHeightForWidth(WIDTH))
        self.bench.events(0.05)
        return parent.grab()

    def take(self, name: str, *sections: str, views=()) -> None:
        """Saves one picture of the panel, with slices beside it if there are any."""
        for ending, palette in self.palettes.items():
            self.application.setPalette(palette)
            picture = self.grab(*sections)
            assert picture.width() == WIDTH
            if views:
                picture = beside(picture, views, palette.color(QtGui.QPalette.ColorRole.Window))
            path = self.folder / f"{name}{ending}.png"
            assert picture.save(str(path))
            assert path.stat().st_size < 300_000, path
        self.application.setPalette(self.palettes[""])


def test_pictures_for_the_tutorial_and_the_catalogue(bench, gallery):
    from LVNetSegmentationLib.sampledata import addPhantom

    bench.volume, bench.reference = addPhantom()
    bench.widget.initializeParameterNode()
    bench.ui.applyButton.click()
    bench.until(lambda: bench.ui.progressBar.value() >= 40, 300)
    gallery.take("running", "segment")
    assert bench.panel.busy
    bench.idle(300)
    assert any("expected dice of the liver" in line.lower() for line in bench.findings())
    gallery.take("segment", "segment")

    bench.parameters.referenceNode = bench.reference
    bench.ui.compareButton.click()
    bench.until(lambda: not bench.panel.compare.running)
    gallery.take("compare", "compare")
    scan, found, reference = arrays(bench)
    dice = 2 * (found & reference).sum() / (found.sum() + reference.sum())
    assert bench.ui.metricsTableWidget.item(0, 1).text() == f"{dice:.4f}"

    middle = [int(np.median(np.flatnonzero(found.any(axis=others)))) for others in ((1, 2), (0, 2))]
    outlines = [(reference, REFERENCE), (found, LIVER)]
    views = [slice_picture(scan, outlines, axis, middle[axis], 350) for axis in (0, 1)]
    gallery.take("overview", "segment", "compare", views=views)

    bench.ui.batchButton.click()
    bench.idle(300)
    gallery.take("batch", "batch")
    gallery.take("advanced", "advanced", "log")
    thumbnail = slice_picture(scan, [(reference, LIVER)], 0, middle[0], 260)
    left = (thumbnail.width() - 280) // 2
    assert thumbnail.copy(left, 0, 280, 260).save(str(gallery.folder / "SamplePhantom.png"))


def arrays(bench):
    """The scan, the result and the reference, on the grid of the scan."""
    from LVNetSegmentationLib.nodes import ownSegmentIds, volumeFromNode

    read = bench.slicer.util.arrayFromSegmentBinaryLabelmap
    node, reference = bench.parameters.outputSegmentation, bench.reference
    found = read(node, ownSegmentIds(node)[0], bench.volume) > 0
    exact = read(reference, reference.GetSegmentation().GetNthSegmentID(0), bench.volume) > 0
    return volumeFromNode(bench.volume), found, exact
