"""Starts slicer-core: Slicer's real MRML, with the stand-in for Slicer's windows that Testing/widget uses too."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parents[1] / "widget"))


@pytest.fixture(scope="session")
def slicer_core() -> Any:
    """The module `slicer` with a scene and the logics that nodes need, started once per process."""
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed here: pip install slicer-core (Python 3.10 to 3.13)")
    try:
        slicer = importlib.import_module("slicer")
    except ImportError as error:
        pytest.skip(f"slicer-core is installed but cannot be loaded here: {error}")
    if not hasattr(slicer, "vtkSlicerSegmentationsModuleLogic"):
        pytest.skip("the 'slicer' that is installed here is not slicer-core: it has no MRML classes")
    return start_slicer_core()


def start_slicer_core() -> Any:
    """The module `slicer` with everything started that Slicer's windows would normally start."""
    from slicer_windows.application import start

    return start()


@pytest.fixture
def scene(slicer_core):
    """An empty scene, cleared after each test."""
    yield slicer_core.mrmlScene
    slicer_core.mrmlScene.Clear(0)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    """A checkpoint of a tiny network with random weights."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, Preprocessing, Recipe

    recipe = Recipe(
        architecture=Architecture(widths=(4, 6, 8, 8, 10), kernel_size=3, expansion=1),
        preprocessing=Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=3.0),
        name="tiny",
    )
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    return str(path)


@pytest.fixture(scope="session")
def module(slicer_core) -> Any:
    """The product's module file."""
    return importlib.import_module("LVNetSegmentation")


@pytest.fixture(scope="session")
def shared_logic(module, tmp_path_factory):
    """A logic with one worker for all tests."""
    os.environ["LVNET_LOG_DIR"] = str(tmp_path_factory.mktemp("logs"))
    made = module.LVNetSegmentationLogic()
    yield made
    made.shutdown()
    del os.environ["LVNET_LOG_DIR"]


@pytest.fixture
def logic(shared_logic, tmp_path):
    """The shared logic, with a folder for temporary files that must be empty after the test."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    shared_logic.service._folder = lambda: folder
    yield shared_logic
    for job in list(shared_logic.service._jobs):
        job.cancel()
        while job.isRunning():
            job.poll()
    assert list(folder.iterdir()) == []


@pytest.fixture
def oblique_volume(slicer_core, scene):
    """A volume on an oblique grid for which the network predicts both organ and background."""
    turn = np.radians(25.0)
    matrix = np.eye(4)
    axes = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    matrix[:3, :3] = axes * (2, 2, 3)
    matrix[:3, 3] = (10.0, -40.0, 5.0)
    z, y, x = np.mgrid[:20, :40, :48]
    array = (200 * np.sin(x / 3.0) * np.cos(y / 4.0) + 20 * np.sin(z)).astype(np.int16)
    return slicer_core.util.addVolumeFromArray(array, ijkToRAS=matrix, name="ct")


@pytest.fixture
def turned_volume(slicer_core, scene, oblique_volume):
    """The same volume under a transform that rotates and translates it."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    matrix = np.array([[0.0, -1, 0, 50], [1, 0, 0, -20], [0, 0, 1, 7.5], [0, 0, 0, 1]])
    slicer_core.util.updateTransformMatrixFromArray(transform, matrix)
    oblique_volume.SetAndObserveTransformNodeID(transform.GetID())
    return oblique_volume
