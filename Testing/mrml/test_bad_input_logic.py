"""Runs the cases of Testing/corpus that can exist as a node through the Logic: correct result or one-line error.

Slicer's own reader loads the files, so that the segmented volume is what Slicer makes of them.
"""

from __future__ import annotations

import numpy as np
import pytest
from corpus import all_cases
from corpus.case import BUNDLED, Handled
from corpus.checking import check_labels, check_refusal, check_words, make_place, removed_afterwards
from lvnet.errors import LVNetError

CASES = [case for case in all_cases() if case.in_slicer is not None]
HANDLED = [case for case in CASES if isinstance(case.in_slicer, Handled)]
REFUSED = [case for case in CASES if not isinstance(case.in_slicer, Handled)]


def parameters(cases):
    return [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in cases]


@pytest.fixture
def folder(request):
    yield from removed_afterwards(make_place(large="slow" in request.keywords))


def node_of(slicer, scene, made_node):
    if made_node.array is None:
        return scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    kind = "vtkMRMLScalarVolumeNode" if made_node.array.ndim == 3 else "vtkMRMLVectorVolumeNode"
    return slicer.util.addVolumeFromArray(made_node.array, ijkToRAS=made_node.ijk_to_ras, name="ct", nodeClassName=kind)


def nodes_in(scene):
    return sorted(scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes()))


def flips_of(truth, node):
    """Axes (z, y, x) along which Slicer's reader has flipped the voxels, as it does for left-handed grids.

    Also checks that the node's voxels are at the positions of the correct scan.
    """
    from LVNetSegmentationLib.nodes import volumeFromNode

    read = volumeFromNode(node)
    signs = np.sum(read.direction_matrix * truth.direction_matrix, axis=0)
    assert np.allclose(np.abs(signs), 1, atol=1e-4)
    flips = [2 - axis for axis in range(3) if signs[axis] < 0]
    last = np.where(signs < 0, np.asarray(truth.shape[::-1]) - 1, 0) * truth.spacing[::-1]
    assert np.allclose(read.origin, truth.origin + truth.direction_matrix @ last, atol=1e-3)
    assert np.allclose(read.spacing, truth.spacing, rtol=1e-5)
    assert np.array_equal(np.flip(read.array, flips), truth.array)
    return flips


@pytest.mark.parametrize("case", parameters(HANDLED))
def test_a_volume_that_looks_bad_gets_its_right_segmentation(slicer_core, scene, logic, weights, folder, case):
    made = case.make(folder)
    volume = slicer_core.modules.volumes.logic().AddArchetypeVolume(str(made.path), "ct")
    assert volume is not None, "Slicer did not load it"
    found = [sentence for _, sentence in logic.checkInput(volume)]
    check_words(case.in_slicer.warnings, found, nothing_else=False)
    flips = flips_of(made.truth, volume)
    segmentation = logic.segment(volume, device="cpu", weights=None if case.weights == BUNDLED else weights, threads=1)
    identifier = segmentation.GetSegmentation().GetSegmentIdBySegmentName("liver")
    labels = slicer_core.util.arrayFromSegmentBinaryLabelmap(segmentation, identifier, volume)
    if labels is None or not labels.size:
        labels = np.zeros(made.truth.shape, np.uint8)
    check_labels(case, np.flip(labels, flips), made.truth, weights)
    check_words(case.in_slicer.notes, logic.lines, nothing_else=False)
    volume_ml = float(np.count_nonzero(labels)) * made.truth.voxel_volume_ml
    assert logic.outcome.volumes["liver"] == pytest.approx(volume_ml, rel=1e-4, abs=1e-6)
    # The next steps of a user work for every result, including an empty one.
    segmentation.CreateClosedSurfaceRepresentation()
    result, table = logic.evaluate(segmentation, segmentation)
    assert table.GetNumberOfRows() == 1
    assert result["dice"] == (1.0 if labels.any() else result["dice"])


@pytest.mark.parametrize("case", parameters(REFUSED))
def test_a_volume_that_cannot_be_one_is_refused_and_the_scene_stays(slicer_core, scene, logic, weights, case):
    volume = node_of(slicer_core, scene, case.node())
    before = nodes_in(scene)
    assert [severity for severity, _ in logic.checkInput(volume)] == ["error"]
    with pytest.raises(LVNetError) as caught:
        logic.segment(volume, device="cpu", weights=weights)
    check_refusal(case.in_slicer, str(caught.value))
    assert nodes_in(scene) == before
