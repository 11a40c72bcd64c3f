"""A running slicer-core: Slicer's real MRML, without its windows."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

MODULE_FILE = Path(__file__).parents[2] / "LVNetSegmentation" / "LVNetSegmentation.py"


@pytest.fixture(scope="session")
def slicer_core():
    """The module `slicer` with a scene and the logics that nodes need, started once a process."""
    if importlib.util.find_spec("slicer") is None:
        pytest.skip("slicer-core is not installed here: pip install slicer-core (Python 3.10 to 3.13)")
    try:
        slicer = importlib.import_module("slicer")
    except ImportError as error:
        pytest.skip(f"slicer-core is installed but cannot be loaded here: {error}")
    if not hasattr(slicer, "vtkSlicerSegmentationsModuleLogic"):
        pytest.skip("the 'slicer' that is installed here is not slicer-core: it has no MRML classes")
    return start_slicer_core()


def start_slicer_core():
    """The module `slicer` with everything that its windows would otherwise have started."""
    slicer = importlib.import_module("slicer")
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colors = application.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colors)
    slicer.mrmlScene = scene
    logics = {"Colors": colors}
    kinds = {
        "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
        "Volumes": slicer.vtkSlicerVolumesLogic,
        "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
        "Sequences": slicer.vtkSlicerSequencesLogic,
    }
    for name, kind in kinds.items():
        logic = kind()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application)
        application.SetModuleLogic(name, logic)
        logics[name] = logic
    slicer.modules = SimpleNamespace(
        **{name.lower(): SimpleNamespace(logic=lambda logic=logic: logic) for name, logic in logics.items()}
    )
    # Python must not let go of what the scene points to.
    slicer.applicationForTests = application
    return slicer


@pytest.fixture
def scene(slicer_core):
    """An empty scene; what a test puts into it is gone after the test."""
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
def module(slicer_core):
    """The module's file, with stand-ins for what of Slicer's own Python needs its windows.

    They hold nothing but the names: what is tested here is the logic, on real nodes.
    """

    class Base:
        def __init__(self, parent=None):
            self.parent = parent

    kinds = ("ScriptedLoadableModule", "Widget", "Logic", "Test")
    bases = {kind if kind == kinds[0] else kinds[0] + kind: type(kind, (Base,), {}) for kind in kinds}
    stand_ins = {
        "qt": {},
        "ctk": {},
        "slicer.i18n": {"tr": lambda text: text, "translate": lambda _context, text: text},
        "slicer.parameterNodeWrapper": {
            **dict.fromkeys(("Choice", "Default", "WithinRange"), lambda *limits: limits),
            "parameterNodeWrapper": lambda kind: kind,
        },
        "slicer.ScriptedLoadableModule": bases,
    }  # fmt: skip
    for name, names in stand_ins.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(names)
    specification = importlib.util.spec_from_file_location("LVNetSegmentation", MODULE_FILE)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    yield loaded
    for name in stand_ins:
        del sys.modules[name]


@pytest.fixture(scope="session")
def shared_logic(module, tmp_path_factory):
    """A logic whose worker stays warm for all tests."""
    import os

    os.environ["LVNET_LOG_DIR"] = str(tmp_path_factory.mktemp("logs"))
    made = module.LVNetSegmentationLogic()
    yield made
    made.shutdown()
    del os.environ["LVNET_LOG_DIR"]


@pytest.fixture
def logic(shared_logic, tmp_path):
    """The logic, with a folder for temporary files that is empty again after the test."""
    folder = tmp_path / "exchange"
    folder.mkdir()
    shared_logic.service._folder = folder
    yield shared_logic
    for job in list(shared_logic.service._jobs):
        job.cancel()
        while job.isRunning():
            job.poll()
    assert list(folder.iterdir()) == []
