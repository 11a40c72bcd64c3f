"""A running slicer-core: Slicer's real MRML, without its windows."""

from __future__ import annotations

import importlib
import importlib.util
from types import SimpleNamespace

import pytest


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
