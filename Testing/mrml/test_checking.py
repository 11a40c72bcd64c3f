"""Checks of the input before segmentation: which volumes are accepted, and which trigger a question."""

from __future__ import annotations

import numpy as np
import pytest
from lvnet.errors import ImageError
from lvnet.phantom import make_phantom
from lvnet.volume import Volume


@pytest.fixture(scope="module")
def scan():
    return make_phantom(3, size=(60, 96, 96), spacing=(5.0, 4.2, 4.2))[0]


def test_a_ct_passes_and_a_windowed_one_has_a_note(scene, logic, scan):
    from LVNetSegmentationLib.nodes import addVolumeNode

    assert logic.checkInput(addVolumeNode(scan, "ct")) == []
    windowed = addVolumeNode(scan.with_array(np.clip(scan.array, -160, 240)), "windowed")
    assert [severity for severity, _ in logic.checkInput(windowed)] == ["note"]


def test_an_mr_is_a_question_and_an_empty_node_an_error(scene, logic, scan):
    from LVNetSegmentationLib.nodes import addVolumeNode

    mr = addVolumeNode(scan.with_array(np.clip(scan.array + 1000, 0, 700).astype(np.int16)), "mr")
    assert [severity for severity, _ in logic.checkInput(mr)][:1] == ["warning"]
    assert logic.checkInput(None)[0][0] == "error"
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    assert logic.checkInput(empty) == [("error", "empty holds no voxels; load or choose another volume")]


def test_weights_for_another_organ_are_asked_about_that_organ(scene, logic, scan, tmp_path):
    import torch
    from lvnet.anatomy import Anatomy
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, LabelClass, Recipe
    from LVNetSegmentationLib.nodes import addVolumeNode

    torch.manual_seed(1)
    paths = {}
    for name, anatomy in (("spleen", Anatomy("abdomen", 220.0, 180.0, (80.0, 140.0))), ("kidney", None)):
        recipe = Recipe(Architecture(widths=(4, 8)), classes=(LabelClass(2, name),), name="other", anatomy=anatomy)
        paths[name] = str(tmp_path / f"{name}.safetensors")
        save_checkpoint(paths[name], LVNet(recipe.architecture).state_dict(), recipe)
    slab = addVolumeNode(Volume(scan.array[4:8].copy(), scan.spacing), "slab")
    said = {name: " ".join(sentence for _, sentence in logic.checkInput(slab, path)) for name, path in paths.items()}
    assert "height of the spleen" in said["spleen"] and "liver" not in said["spleen"]
    assert "height" not in said["kidney"] and "liver" not in said["kidney"]
    assert "height of the liver" in " ".join(sentence for _, sentence in logic.checkInput(slab))
    ((severity, sentence),) = logic.checkInput(slab, str(tmp_path / "absent.safetensors"))
    assert severity == "error" and "absent.safetensors" in sentence
    # A whole run: no message about the result mentions a liver.
    logic.segment(addVolumeNode(scan, "ct"), device="cpu", weights=paths["kidney"])
    messages = [*logic.outcome.lines, *(sentence for _, sentence in logic.outcome.checks)]
    assert messages and not any("liver" in line for line in messages)


def test_4d_images_and_other_nodes_are_told_apart(slicer_core, scene, logic):
    vector = slicer_core.util.addVolumeFromArray(
        np.zeros((2, 3, 4, 3), np.uint8), name="photo", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    labels = slicer_core.util.addVolumeFromArray(
        np.zeros((2, 3, 4), np.uint8), name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    diffusion = scene.AddNewNodeByClass("vtkMRMLDiffusionWeightedVolumeNode", "dwi")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    for node, words in (
        (vector, "colour"), (labels, "label map, not a CT"), (diffusion, "several volumes"),
        (sequence, "sequence of images (4D)"), (model, "not a volume"),
    ):  # fmt: skip
        ((severity, sentence),) = logic.checkInput(node)
        assert severity == "error" and words in sentence
        with pytest.raises(ImageError):
            logic.segment(node, device="cpu")


def test_a_frame_of_a_sequence_has_a_note(slicer_core, scene, logic, scan):
    from LVNetSegmentationLib.nodes import addVolumeNode

    node = addVolumeNode(scan, "frame")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "perfusion")
    assert logic.checkInput(node) == []
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(node, sequence, False)
    assert any("frame of a sequence" in sentence for _, sentence in logic.checkInput(node))
