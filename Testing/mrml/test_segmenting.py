"""One run on Slicer's real MRML, with a tiny network: the library's way and the module's own."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from lvnet.errors import CheckpointError, ImageError
from lvnet.recipe import Architecture, Preprocessing, Recipe

MODULE_FILE = Path(__file__).parents[2] / "LVNetSegmentation" / "LVNetSegmentation.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A checkpoint of a tiny network with random weights."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here")
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet

    recipe = Recipe(
        architecture=Architecture(widths=(4, 8), kernel_size=3, expansion=1),
        preprocessing=Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(2.0, 2.0), slice_spacing=3.0, slab_depth=4),
        name="tiny",
    )
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    return str(path)


@pytest.fixture
def volume_node(slicer_core, scene):
    """Voxels that are neither all organ nor all background, oblique and under a transform."""
    turn = np.radians(25.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]) * (
        2,
        2,
        3,
    )
    matrix[:3, 3] = (10.0, -40.0, 5.0)
    z, y, x = np.mgrid[:10, :20, :24]
    array = (200 * np.sin(x / 3.0) * np.cos(y / 4.0) + 20 * z).astype(np.int16)
    node = slicer_core.util.addVolumeFromArray(array, ijkToRAS=matrix, name="ct")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, 3] = (50.0, 0.0, 0.0)
    slicer_core.util.updateTransformMatrixFromArray(transform, moved)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


@pytest.fixture
def segment_volume_node(slicer_core):
    from LVNetSegmentationLib.segmenting import segmentVolumeNode

    return segmentVolumeNode


def names_of_nodes(scene):
    import slicer

    # A real Slicer always has this node; slicer-core makes it when it is first asked for.
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return sorted(scene.GetNthNode(i).GetName() or "" for i in range(scene.GetNumberOfNodes()))


def test_the_nodes_voxels_are_those_that_the_core_finds(slicer_core, scene, volume_node, weights, segment_volume_node):
    from lvnet.inference import segment
    from LVNetSegmentationLib.nodes import volumeFromNode

    expected = segment(volumeFromNode(volume_node), weights=weights, device="cpu")
    assert 0 < expected.labels.array.mean() < 1
    seen = []
    outcome = segment_volume_node(
        volume_node, device="cpu", weights=weights, progress=lambda share, stage: seen.append(share)
    )
    identifier = outcome.segmentationNode.GetSegmentation().GetSegmentIdBySegmentName("liver")
    got = slicer_core.util.arrayFromSegmentBinaryLabelmap(outcome.segmentationNode, identifier, volume_node)
    assert np.array_equal(got, expected.labels.array)
    assert outcome.segmentationNode.GetParentTransformNode() is volume_node.GetParentTransformNode()
    assert outcome.lines[0] == f"liver: {expected.volumes_ml['liver']:.0f} ml"
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


def test_a_run_that_fails_leaves_the_scene_as_it_was(scene, volume_node, tmp_path, segment_volume_node):
    before = names_of_nodes(scene)
    with pytest.raises(CheckpointError):
        segment_volume_node(volume_node, weights=str(tmp_path / "absent.safetensors"), device="cpu")
    assert names_of_nodes(scene) == before


def test_a_result_that_cannot_be_written_leaves_the_scene_as_it_was(
    scene, volume_node, weights, segment_volume_node, monkeypatch
):
    from LVNetSegmentationLib import nodes

    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(nodes, "writeLabels", fail)
    before = names_of_nodes(scene)
    with pytest.raises(MemoryError):
        segment_volume_node(volume_node, weights=weights, device="cpu")
    assert names_of_nodes(scene) == before


def test_a_volume_that_is_removed_meanwhile_gets_no_result(scene, volume_node, weights, segment_volume_node):
    def remove(share, _stage):
        if share == 1.0:
            scene.RemoveNode(volume_node)

    with pytest.raises(ImageError, match="removed"):
        segment_volume_node(volume_node, weights=weights, device="cpu", progress=remove)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_an_output_that_cannot_be_used_is_refused_before_any_work(scene, volume_node, weights, segment_volume_node):
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    output.GetSegmentation().AddEmptySegment("", "liver by hand")
    seen = []
    with pytest.raises(ImageError, match="another transform"):
        segment_volume_node(volume_node, output, weights=weights, progress=lambda *step: seen.append(step))
    assert seen == []


@pytest.fixture
def module(slicer_core, monkeypatch):
    """The module's file, with stand-ins for what of Slicer's own Python needs its windows.

    They hold nothing but the names: what is tested here is the logic, on real nodes.
    """

    def stand_in(name, **names):
        made = types.ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    class Base:
        def __init__(self, parent=None):
            self.parent = parent

    kinds = ("ScriptedLoadableModule", "Widget", "Logic", "Test")
    bases = {kind if kind == kinds[0] else kinds[0] + kind: type(kind, (Base,), {}) for kind in kinds}
    stand_in("qt")
    stand_in("slicer.i18n", tr=lambda text: text, translate=lambda _context, text: text)
    stand_in("slicer.parameterNodeWrapper", Choice=list, parameterNodeWrapper=lambda kind: kind)
    stand_in("slicer.ScriptedLoadableModule", **bases)
    specification = importlib.util.spec_from_file_location("LVNetSegmentation", MODULE_FILE)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def test_the_modules_logic_returns_the_segmentation_node(module, volume_node, weights):
    logic = module.LVNetSegmentationLogic()
    node = logic.segment(volume_node, device="cpu", weights=weights, overlap=0.25)
    assert node.GetName() == "ct segmentation"
    assert logic.lines[0].startswith("liver: ")
    again = logic.segment(volume_node, node, device="cpu", weights=weights)
    assert again is node
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_the_module_describes_itself(module):
    parent = types.SimpleNamespace()
    module.LVNetSegmentation(parent)
    assert parent.title == "LV-Net Segmentation"
    assert parent.categories == ["Segmentation"]
    assert module.HOMEPAGE in parent.helpText
