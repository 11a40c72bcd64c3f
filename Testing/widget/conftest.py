"""A stand-in for Slicer's windows, with the real MRML of slicer-core and the real worker; see slicer_windows."""

from __future__ import annotations

import html
import importlib
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def slicer(tmp_path_factory) -> Any:
    """The module `slicer`, with the stand-in for its windows."""
    try:
        import PySide6.QtWidgets  # noqa: F401
    except ImportError as error:
        libraries = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libglib2.0-0 fontconfig fonts-dejavu-core"
        pytest.exit(f"Qt cannot be loaded ({error}); on Debian: apt-get install {libraries}", returncode=1)
    from slicer_windows.application import start

    os.environ["LVNET_LOG_DIR"] = str(tmp_path_factory.mktemp("logs"))
    return start()


@pytest.fixture(autouse=True)
def no_error_goes_unseen(monkeypatch) -> Any:
    """Makes exceptions in slots and observers, which otherwise only reach the console, fail the test."""
    seen: list = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: seen.append((kind, error, trace)))
    yield
    for _kind, error, _trace in seen:
        raise error


@pytest.fixture(scope="session")
def module(slicer) -> Any:
    """The product's module file."""
    return importlib.import_module("LVNetSegmentation")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> str:
    """A checkpoint of a tiny network with random weights: fast, with meaningless results."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, Preprocessing, Recipe

    recipe = Recipe(
        architecture=Architecture(widths=(4, 8), kernel_size=3, expansion=1),
        preprocessing=Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=3.0, slab_depth=4),
        name="tiny",
    )
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    return str(path)


@pytest.fixture(scope="session")
def phantom() -> Any:
    """A small synthetic abdomen and the label of its liver."""
    from lvnet.phantom import make_phantom

    return make_phantom(7, size=(40, 96, 96), spacing=(5.0, 4.2, 4.2))


class Bench:
    """The panel in an open window, with helpers for tests."""

    def __init__(self, slicer: Any, widget: Any) -> None:
        self.slicer = slicer
        self.widget = widget

    @property
    def ui(self) -> Any:
        return self.widget.ui

    @property
    def parameters(self) -> Any:
        return self.widget._parameterNode

    @property
    def panel(self) -> Any:
        return self.widget.panel

    def events(self, seconds: float = 0.0) -> None:
        """Processes events for a while; other Python threads hardly run meanwhile, see `event_loop`."""
        from slicer_windows.event_loop import turn

        end = time.monotonic() + seconds
        while True:
            turn()
            if time.monotonic() >= end:
                return

    def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Processes events until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            self.events(0.01)

    def idle(self, seconds: float = 120.0) -> None:
        """Processes events until nothing is being segmented."""
        self.until(lambda: not self.panel.busy, seconds)

    def findings(self, which: str = "result") -> list:
        """The messages about the input or the result in the panel."""
        label = getattr(self.ui, f"{which}FindingsLabel")
        return [html.unescape(row) for row in re.findall(r"</td><td>(.*?)</td>", label.text())]

    def log(self) -> str:
        return self.ui.logTextEdit.toPlainText()

    def add_volume(self, volume: Any, name: str = "ct") -> Any:
        from LVNetSegmentationLib.nodes import addVolumeNode

        return addVolumeNode(volume, name)

    def add_segmentation(self, label: Any, volume_node: Any, name: str = "reference") -> Any:
        """A segmentation node with one segment, as if drawn by hand."""
        node = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        identifier = node.GetSegmentation().AddEmptySegment("", "liver")
        self.slicer.util.updateSegmentBinaryLabelmapFromArray(
            np.ascontiguousarray(label.array), node, identifier, volume_node
        )
        return node

    def names_of_nodes(self) -> list:
        scene = self.slicer.mrmlScene
        self.slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        return sorted(scene.GetNthNode(index).GetName() or "" for index in range(scene.GetNumberOfNodes()))


@pytest.fixture
def bench(slicer, module) -> Any:
    """A panel opened on an empty scene; the panel and its worker are closed after the test."""
    import shiboken6
    from slicer_windows import qt_names, sample_data

    slicer.mrmlScene.Clear(0)
    slicer.messages.clear()
    slicer.pip.forget()
    qt_names.file_answers.clear()
    qt_names.opened.clear()
    for file in Path(os.environ["LVNET_LOG_DIR"]).glob("pace.json"):
        file.unlink()
    slicer.app.connected.clear()
    sample_data.sources.clear()
    widget = module.LVNetSegmentationWidget()
    slicer.modules.LVNetSegmentationWidget = widget
    widget.setup()
    widget.parent.isEntered = True
    widget.parent.resize(420, 900)
    widget.parent.show()
    made = Bench(slicer, widget)
    made.events()
    yield made
    current = slicer.modules.LVNetSegmentationWidget
    current.cleanup()
    # Slicer deletes the widgets after that, while Python still holds their wrappers.
    shiboken6.delete(current.parent)
    slicer.mrmlScene.Clear(0)
    slicer.qt_application.processEvents()


@pytest.fixture
def ready(bench, phantom, tiny_weights) -> Any:
    """A panel with a volume and fast weights, ready for Apply."""
    bench.volume = bench.add_volume(phantom[0], "ct")
    bench.parameters.inputVolume = bench.volume
    bench.parameters.weights = tiny_weights
    bench.parameters.threads = 1
    bench.events()
    if bench.ui.anywayCheckBox.isVisible():
        bench.ui.anywayCheckBox.click()
    assert bench.ui.applyButton.isEnabled(), bench.ui.applyButton.toolTip()
    return bench


@pytest.fixture(scope="session")
def warm_service(slicer) -> Any:
    """A worker shared by the tests that are not about starting and ending it."""
    from LVNetSegmentationLib.pythonslicer import makeService

    service = makeService()
    yield service
    service.shutdown()


@pytest.fixture
def warm(ready, warm_service) -> Any:
    """`ready` with a worker that has already loaded everything."""
    ready.widget.logic.shutdown()
    ready.widget.logic._service = warm_service
    yield ready
    for job in list(warm_service._jobs):
        job.forget()
        job.cancel()
    while warm_service.is_busy():
        warm_service.poll()
        time.sleep(0.01)
    ready.widget.logic._service = None
