"""Uncertain regions in the panel: an overlay and a button to jump to them, as long as the result is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import vtk
from lvnet.acceleration import ComputePath
from lvnet.recipe import LabelClass
from lvnet.worker.client.service import Conversation
from lvnet.worker.messages.answers import Done
from lvnet.worker.messages.results import DoubtfulRegions, FoundClass, SegmentResult, box_of

#: Boxes (z, y, x) in the phantom, in descending order of size.
BOXES = [
    (slice(10, 14), slice(30, 40), slice(50, 60)),
    (slice(20, 23), slice(20, 26), slice(30, 40)),
    (slice(30, 32), slice(60, 64), slice(20, 25)),
]
WORKER_BOX = (slice(8, 35), slice(20, 64), slice(15, 60))
VOXEL_ML = 5.0 * 4.2 * 4.2 / 1000
VOLUMES = [400 * VOXEL_ML, 180 * VOXEL_ML, 40 * VOXEL_ML]
#: The row's widgets in the panel.
ROW = ("showDoubtfulButton", "nextDoubtfulButton", "doubtfulLabel")


def mask():
    made = np.zeros((40, 96, 96), np.uint8)
    for box in BOXES:
        made[box] = 1
    return made


def middle_of(box) -> list:
    return [(side.start + side.stop) // 2 for side in box]


class Worker:
    """Replaces the worker: answers at once with a liver and some uncertain regions.

    Attributes:
        boxes: of the uncertain regions.
    """

    def __init__(self, label) -> None:
        self._label = label
        self.boxes = BOXES

    def ask(self, request):
        liver = LabelClass(1, "liver")
        place, folder, doubtful, regions = request.place, Path(request.folder), None, []
        np.save(folder / "class-1.npy", self._label.array)
        direction = np.reshape(place.direction, (3, 3))
        for box, volume in zip(self.boxes, VOLUMES):
            steps = np.multiply(middle_of(box)[::-1], place.spacing[::-1])
            position = np.array(place.origin) + direction @ steps
            regions.append({"value": 1, "volume_ml": volume, "centre_lps_mm": position.tolist()})
        if regions:
            np.save(folder / "doubtful.npy", mask()[WORKER_BOX])
            doubtful = DoubtfulRegions(box_of(WORKER_BOX), "doubtful.npy")
        report = {"doubtful_regions": regions, "volumes_ml": {"liver": 1500.0}, "notes": [], "checks": []}
        report.update(device_reason="CPU, as requested", compute_path=ComputePath().to_dict(), weights="made")
        found = FoundClass(liver, box_of([slice(0, n) for n in self._label.array.shape]), "class-1.npy")
        conversation = Conversation(1, request)
        fields = json.loads(json.dumps(SegmentResult((found,), doubtful, report).to_fields()))
        conversation.add(Done(1, fields, 0.1))
        return conversation


@pytest.fixture
def made(ready, phantom, monkeypatch):
    """A panel whose worker returns the prepared result."""
    ready.worker = Worker(phantom[1])
    monkeypatch.setattr(ready.widget.logic.service, "ask", ready.worker.ask)
    return ready


@pytest.fixture
def shown(made):
    """A result with three uncertain regions in the panel; its volume is rotated and under a transform."""
    slicer = made.slicer
    made.composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    made.slices = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    made.transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    turned = np.array([[0.0, -1, 0, 50], [0, 0, 1, -20], [-1, 0, 0, 7.5], [0, 0, 0, 1]])
    slicer.util.updateTransformMatrixFromArray(made.transform, turned)
    made.volume.SetAndObserveTransformNodeID(made.transform.GetID())
    run(made)
    assert row(made) == [True] * 3, made.findings()
    return made


def run(bench) -> None:
    bench.ui.applyButton.click()
    bench.idle()
    bench.events(0.05)


def overlays(bench) -> list:
    nodes = bench.slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetName().startswith("Doubtful regions")]


def row(bench) -> list:
    return [getattr(bench.ui, name).isVisible() for name in ROW]


def text(bench) -> str:
    return bench.ui.doubtfulLabel.text()


def centre_of_slices(bench) -> list:
    """Centre of the slice views as indices (z, y, x) of the volume, through its transform."""
    world = [bench.slices.GetSliceToRAS().GetElement(line, 3) for line in range(3)]
    matrix = vtk.vtkMatrix4x4()
    bench.volume.GetIJKToRASMatrix(matrix)
    to_world = bench.slicer.util.arrayFromTransformMatrix(bench.transform)
    to_local = np.array([[matrix.GetElement(line, column) for column in range(4)] for line in range(4)])
    return np.linalg.solve(to_world @ to_local, [*world, 1.0])[2::-1].tolist()


def test_the_overlay_is_made_on_demand_and_lies_where_the_worker_said(shown, slicer):
    assert row(shown) == [True] * 3
    assert text(shown) == f"3 doubtful regions: {sum(VOLUMES):.0f} ml"
    assert overlays(shown) == []
    shown.ui.showDoubtfulButton.click()
    (overlay,) = overlays(shown)
    assert shown.ui.showDoubtfulButton.isChecked()
    name = overlay.GetSegmentation().GetNthSegmentID(0)
    assert np.array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(overlay, name, shown.volume), mask())
    assert overlay.GetParentTransformNode() is shown.transform
    shown.ui.showDoubtfulButton.click()
    assert overlays(shown) == []
    assert not shown.ui.showDoubtfulButton.isChecked()


def test_next_goes_from_region_to_region_the_largest_first_and_begins_again(shown):
    for number in (1, 2, 3, 1):
        shown.ui.nextDoubtfulButton.click()
        assert text(shown) == f"Doubtful region {number} of 3: {VOLUMES[number - 1]:.0f} ml"
        assert centre_of_slices(shown) == pytest.approx(middle_of(BOXES[number - 1]), abs=0.01)
    assert overlays(shown) == []


def test_a_result_without_doubtful_regions_has_no_row(made):
    assert row(made) == [False] * 3
    made.worker.boxes = []
    run(made)
    assert made.parameters.outputSegmentation is not None
    assert row(made) == [False] * 3


def test_regions_are_those_of_the_real_worker(warm):
    """The network of these tests is uncertain almost everywhere."""
    run(warm)
    (region,) = warm.widget.logic.outcome.doubtful.regions
    assert text(warm) == f"1 doubtful region: {region.volume:.0f} ml"
    warm.ui.showDoubtfulButton.click()
    (overlay,) = overlays(warm)
    name = overlay.GetSegmentation().GetNthSegmentID(0)
    voxels = warm.slicer.util.arrayFromSegmentBinaryLabelmap(overlay, name, warm.volume)
    assert voxels.sum() * VOXEL_ML == pytest.approx(region.volume, rel=0.05)


def choose_other(bench):
    bench.ui.inputSelector.setCurrentNode(bench.slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16)))


@pytest.mark.parametrize(
    "leave",
    [
        choose_other,
        lambda bench: bench.slicer.mrmlScene.Clear(0),
        lambda bench: bench.ui.applyButton.click(),
        lambda bench: bench.slicer.mrmlScene.RemoveNode(bench.volume),
    ],
    ids=["another input", "a closed scene", "the next run", "a removed volume"],
)
def test_the_overlay_goes_with_the_result(shown, leave):
    shown.ui.showDoubtfulButton.click()
    shown.ui.nextDoubtfulButton.click()
    assert len(overlays(shown)) == 1
    leave(shown)
    assert overlays(shown) == []
    assert shown.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode") <= 1
    assert row(shown) == [False] * 3
    assert text(shown) == ""


def test_the_overlay_goes_with_the_panel(shown):
    shown.ui.showDoubtfulButton.click()
    assert len(overlays(shown)) == 1
    shown.widget.cleanup()
    assert overlays(shown) == []


def test_a_scene_that_is_saved_does_not_hold_the_overlay(shown, slicer, tmp_path):
    shown.ui.showDoubtfulButton.click()
    path = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))
    assert "ct segmentation" in path.read_text()
    assert "Doubtful" not in path.read_text()


def test_the_overlay_is_neither_offered_nor_taken_for_a_result(shown):
    result = shown.parameters.outputSegmentation
    shown.ui.showDoubtfulButton.click()
    (overlay,) = overlays(shown)
    shown.events()
    for name in ("outputSelector", "comparedSelector", "referenceSelector"):
        offered = getattr(shown.ui, name)._nodes
        assert result in offered and overlay not in offered
    assert shown.parameters.outputSegmentation is result and shown.parameters.comparedNode is result
    # The next run writes to the same segmentation and segment.
    run(shown)
    assert shown.parameters.outputSegmentation is result
    assert result.GetSegmentation().GetNumberOfSegments() == 1
    assert row(shown) == [True] * 3 and not shown.ui.showDoubtfulButton.isChecked()


def test_the_regions_are_shown_over_their_own_volume_only(shown, slicer):
    from LVNetSegmentationLib.views import showResult

    shown.ui.showDoubtfulButton.click()
    other = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name="other")
    reference = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of other")
    showResult(other, reference)
    assert overlays(shown) == []
    shown.events()
    assert not shown.ui.showDoubtfulButton.isChecked()
    shown.ui.nextDoubtfulButton.click()
    assert shown.composite.GetBackgroundVolumeID() == shown.volume.GetID()
    slicer.util.setSliceViewerLayers(background=other)
    shown.ui.showDoubtfulButton.click()
    assert shown.composite.GetBackgroundVolumeID() == shown.volume.GetID()
    assert len(overlays(shown)) == 1


def test_the_row_fits_into_a_panel_of_the_usual_width(shown):
    for name in ("compare", "batch", "advanced", "log"):
        getattr(shown.ui, f"{name}CollapsibleButton").collapsed = True
    shown.ui.nextDoubtfulButton.click()
    shown.widget.parent.resize(372, 2400)
    shown.events(0.05)
    assert shown.widget.parent.layout().minimumSize().width() <= 372
    for name in ROW[:2]:
        button = getattr(shown.ui, name)
        assert button.width() >= button.sizeHint().width()
    label = shown.ui.doubtfulLabel
    assert label.height() >= label.heightForWidth(label.width())


def test_the_tool_tips_say_what_a_doubtful_region_is_and_what_it_is_not(bench):
    tip = bench.ui.showDoubtfulButton.toolTip()
    assert "neither sure" in tip and "wrong elsewhere" in tip
    assert bench.ui.nextDoubtfulButton.toolTip()
