"""A result belongs to the volume it was made from: it is never shown for, or attached to, another patient."""

from __future__ import annotations

import numpy as np
import pytest


def run(bench) -> None:
    bench.ui.applyButton.click()
    bench.idle()
    bench.events(0.05)


def said(bench) -> str:
    """All messages of the panel about a result."""
    return bench.ui.statusLabel.text() + " ".join(bench.findings())


def voxels(bench, node) -> np.ndarray:
    volume = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    name = node.GetSegmentation().GetNthSegmentID(0)
    return bench.slicer.util.arrayFromSegmentBinaryLabelmap(node, name, volume)


@pytest.fixture
def two(warm, phantom):
    """Two volumes of two patients; the first is chosen."""
    scan = phantom[0]
    warm.other = warm.add_volume(scan.with_array(np.ascontiguousarray(scan.array[:, :, ::-1])), "other")
    warm.events()
    return warm


def choose(bench, volume) -> None:
    bench.ui.inputSelector.setCurrentNode(volume)
    if bench.ui.anywayCheckBox.isVisible():
        bench.ui.anywayCheckBox.setChecked(True)
    bench.events()


def edit(bench, node) -> None:
    """Changes a segment's voxels, as Segment Editor does."""
    array = voxels(bench, node).copy()
    array[20] = 1 - array[20]
    name = node.GetSegmentation().GetNthSegmentID(0)
    bench.slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, name, bench.volume)


def test_nothing_that_is_said_of_one_volume_stands_below_another(two):
    run(two)
    assert "ct: liver" in two.ui.statusLabel.text()
    first = two.parameters.outputSegmentation
    before = voxels(two, first).copy()
    choose(two, two.other)
    assert said(two) == ""
    assert two.parameters.outputSegmentation is None
    run(two)
    second = two.parameters.outputSegmentation
    assert second is not first
    assert second.GetName() == "other segmentation"
    assert two.ui.statusLabel.text().startswith("other: ")
    assert np.array_equal(voxels(two, first), before)


def test_a_volume_that_is_chosen_again_does_not_get_the_segmentation_of_the_other(two):
    run(two)
    choose(two, two.other)
    choose(two, two.volume)
    assert two.parameters.outputSegmentation is None
    assert said(two) == ""


def test_inputs_cannot_be_changed_while_a_run_uses_them(two):
    two.ui.applyButton.click()
    assert not two.ui.inputSelector.isEnabled()
    assert not two.ui.outputSelector.isEnabled()
    two.idle()
    assert two.ui.inputSelector.isEnabled()


def test_a_result_that_arrives_while_another_volume_is_chosen_is_not_bound_to_it(two, slicer):
    """The input may change during a run, by a script or by loading a scene."""
    two.ui.applyButton.click()
    two.parameters.inputVolume = two.other
    two.idle()
    made = slicer.util.getNode("ct segmentation")
    assert made.GetNodeReference(made.GetReferenceImageGeometryReferenceRole()) is two.volume
    assert two.parameters.outputSegmentation is None
    assert two.parameters.comparedNode is None
    assert said(two) == ""


def test_a_segmentation_of_another_volume_is_filled_only_after_a_question(two):
    run(two)
    first = two.parameters.outputSegmentation
    choose(two, two.other)
    two.ui.outputSelector.setCurrentNode(first)
    two.events()
    assert not two.ui.applyButton.isEnabled()
    assert two.ui.anywayCheckBox.isVisible()
    assert "belongs to ct" in two.findings("input")[0]
    two.ui.anywayCheckBox.click()
    assert two.ui.applyButton.isEnabled()


def test_a_segment_that_was_edited_is_replaced_only_after_a_question(warm):
    run(warm)
    node = warm.parameters.outputSegmentation
    edit(warm, node)
    edited = voxels(warm, node).copy()
    # The panel did not notice the edit; the click does.
    warm.ui.applyButton.click()
    assert not warm.panel.busy
    assert "Liver of ct segmentation was edited" in warm.findings("input")[0]
    assert np.array_equal(voxels(warm, node), edited)
    warm.ui.anywayCheckBox.click()
    run(warm)
    assert warm.parameters.outputSegmentation is node
    assert not np.array_equal(voxels(warm, node), edited)
    # A further edit triggers the question again.
    edit(warm, node)
    edited = voxels(warm, node).copy()
    warm.ui.applyButton.click()
    assert not warm.panel.busy and warm.ui.anywayCheckBox.isVisible()
    assert np.array_equal(voxels(warm, node), edited)


def test_what_was_found_of_a_result_is_not_said_of_what_it_was_edited_to(warm):
    run(warm)
    assert warm.findings() and warm.ui.statusLabel.isVisible()
    edit(warm, warm.parameters.outputSegmentation)
    # As after returning from Segment Editor.
    warm.widget.exit()
    warm.widget.enter()
    warm.events()
    assert "was edited" in warm.findings("input")[0]
    assert not warm.findings() and not warm.ui.statusLabel.isVisible()


def test_a_segment_that_is_edited_during_a_run_stays_and_the_result_goes_beside_it(warm):
    run(warm)
    node = warm.parameters.outputSegmentation
    warm.ui.applyButton.click()
    edit(warm, node)
    edited = voxels(warm, node).copy()
    warm.idle()
    assert warm.parameters.outputSegmentation is not node
    assert np.array_equal(voxels(warm, node), edited)
    assert "was edited during the run" in warm.log()


def reload_scene(bench, slicer, folder):
    """Saves the scene, closes it, and loads it again with the panel open."""
    path = str(folder / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(0)
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Import()
    bench.events()


def test_a_scene_with_two_volumes_comes_back_with_the_chosen_one(two, slicer, tmp_path):
    choose(two, two.other)
    run(two)
    reload_scene(two, slicer, tmp_path)
    assert two.parameters.inputVolume.GetName() == "other"
    assert two.ui.inputSelector.currentNode().GetName() == "other"
    assert two.parameters.outputSegmentation.GetName() == "other segmentation"


def test_a_scene_that_is_loaded_during_a_run_keeps_its_own_choice(two, slicer, tmp_path):
    choose(two, two.other)
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    choose(two, two.volume)
    two.ui.applyButton.click()
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Import()
    two.idle()
    assert two.parameters.inputVolume.GetName() == "other"
    assert two.parameters.outputSegmentation is None


def test_a_scene_that_is_closed_during_a_run_leaves_nothing_said(warm, slicer):
    warm.ui.applyButton.click()
    warm.events(0.2)
    slicer.mrmlScene.Clear(0)
    warm.idle()
    assert said(warm) == ""


def test_an_error_of_one_volume_does_not_stand_below_another(two, slicer):
    two.ui.applyButton.click()
    two.parameters.inputVolume = two.other
    slicer.mrmlScene.RemoveNode(two.volume)
    two.idle()
    assert "Failed: " in two.log()
    assert said(two) == ""


def test_an_error_after_the_scene_was_closed_is_not_said_in_the_next_one(warm, slicer, monkeypatch):
    """A run cannot be cancelled while its result is being written."""
    from LVNetSegmentationLib import segmenting

    collect = segmenting.SegmentJob._collect

    def collect_and_close(job, result):
        collected = collect(job, result)
        if job._written is not None and collected is None:
            slicer.mrmlScene.Clear(0)
        return collected

    monkeypatch.setattr(segmenting.SegmentJob, "_collect", collect_and_close)
    warm.ui.applyButton.click()
    warm.idle()
    assert "Failed: " in warm.log()
    assert said(warm) == ""


def test_the_volume_that_is_shown_is_the_one_that_is_chosen(bench, slicer, phantom):
    bench.widget.exit()
    bench.add_volume(phantom[0], "first")
    last = bench.add_volume(phantom[0], "last")
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(last.GetID())
    bench.widget.enter()
    assert bench.parameters.inputVolume is last
    bench.parameters.inputVolume = None
    bench.widget.exit()
    first = slicer.util.getNode("first")
    slicer.application_logic.GetSelectionNode().SetActiveVolumeID(first.GetID())
    bench.widget.enter()
    assert bench.parameters.inputVolume is first


def show(bench, volume) -> None:
    """Shows a loaded volume, as Slicer does."""
    bench.slicer.application_logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
    bench.events()


@pytest.fixture
def loaded(bench, phantom):
    """A volume that was loaded while the panel is open, followed by a second one."""
    bench.first = bench.add_volume(phantom[0], "first")
    show(bench, bench.first)
    bench.second = bench.add_volume(phantom[0], "second")
    return bench


def test_a_second_volume_that_is_loaded_while_the_panel_is_open_is_the_one_that_is_chosen(loaded):
    assert loaded.parameters.inputVolume is loaded.first
    show(loaded, loaded.second)
    assert loaded.parameters.inputVolume is loaded.second
    assert loaded.ui.inputSelector.currentNode() is loaded.second


def test_what_the_user_picked_stays_when_another_volume_is_loaded(loaded, phantom):
    """Selecting the current volume again also counts as a choice."""
    loaded.ui.inputSelector.pick(loaded.first)
    show(loaded, loaded.second)
    assert loaded.parameters.inputVolume is loaded.first
    loaded.widget.exit()
    loaded.widget.enter()
    assert loaded.parameters.inputVolume is loaded.first


def test_what_a_script_chose_stays_when_another_volume_is_loaded(loaded):
    loaded.parameters.inputVolume = loaded.second
    show(loaded, loaded.second)
    show(loaded, loaded.first)
    assert loaded.parameters.inputVolume is loaded.second


def test_a_volume_that_was_segmented_stays_when_another_one_is_loaded(warm, phantom):
    run(warm)
    show(warm, warm.add_volume(phantom[0], "next"))
    assert warm.parameters.inputVolume is warm.volume
    warm.parameters.outputSegmentation = None
    show(warm, warm.volume)
    show(warm, warm.slicer.util.getNode("next"))
    assert warm.parameters.inputVolume is warm.volume


def test_a_volume_that_is_loaded_in_another_module_is_chosen_on_the_way_back(loaded):
    loaded.widget.exit()
    show(loaded, loaded.second)
    loaded.widget.enter()
    assert loaded.parameters.inputVolume is loaded.second


def test_the_choice_of_a_scene_that_is_loaded_stays_when_another_volume_is_shown(two, slicer, tmp_path):
    choose(two, two.other)
    reload_scene(two, slicer, tmp_path)
    show(two, slicer.util.getNode("ct"))
    assert two.parameters.inputVolume.GetName() == "other"


def shown_segments(bench) -> str:
    bench.until(lambda: not bench.panel.volumes.counting)
    return bench.ui.segmentsLabel.text()


def test_segments_of_the_output_stand_in_the_panel_with_their_volumes(warm):
    assert not warm.ui.segmentsLabel.isVisible()
    run(warm)
    node = warm.parameters.outputSegmentation
    assert shown_segments(warm) == f"liver ({voxels(warm, node).sum() * 5.0 * 4.2 * 4.2 / 1000:.0f} ml)"
    edit(warm, node)
    warm.panel.refresh()
    assert shown_segments(warm) == f"liver ({voxels(warm, node).sum() * 5.0 * 4.2 * 4.2 / 1000:.0f} ml)"
    warm.parameters.outputSegmentation = None
    warm.events()
    assert not warm.ui.segmentsLabel.isVisible()


def test_a_result_comes_into_sight(warm, slicer):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    slices = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode")
    warm.volume.CreateDefaultDisplayNodes()
    run(warm)
    assert composite.GetBackgroundVolumeID() == warm.volume.GetID()
    bounds = [0.0] * 6
    warm.parameters.outputSegmentation.GetRASBounds(bounds)
    centre = [slices.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert centre == pytest.approx([(bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)], abs=3.0)
    display = warm.volume.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-160, 240)
    display.SetWindowLevelMinMax(-1000, 400)
    run(warm)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1000, 400)


def test_the_window_that_a_dicom_series_came_with_gives_way_to_that_of_the_abdomen(warm):
    """Slicer uses the first window preset of a DICOM series, which disables its automatic window."""
    warm.volume.CreateDefaultDisplayNodes()
    display = warm.volume.GetDisplayNode()
    display.AddWindowLevelPreset(1500, -600)
    display.AddWindowLevelPreset(400, 40)
    display.SetWindowLevelFromPreset(0)
    assert not display.GetAutoWindowLevel()
    run(warm)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-160, 240)
    display.SetWindowLevel(1400, -500)
    run(warm)
    assert (display.GetWindow(), display.GetLevel()) == (1400, -500)


def test_no_liver_is_drawn_over_the_scan_of_somebody_else(two, slicer):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    run(two)
    first = two.parameters.outputSegmentation
    choose(two, two.other)
    run(two)
    second = two.parameters.outputSegmentation
    assert composite.GetBackgroundVolumeID() == two.other.GetID()
    assert (first.GetDisplayNode().GetVisibility(), second.GetDisplayNode().GetVisibility()) == (0, 1)
    assert f"Hidden, since another volume is shown: {first.GetName()}" in two.log()
    choose(two, two.volume)
    two.ui.outputSelector.setCurrentNode(first)
    run(two)
    assert composite.GetBackgroundVolumeID() == two.volume.GetID()
    assert (first.GetDisplayNode().GetVisibility(), second.GetDisplayNode().GetVisibility()) == (1, 0)


def test_show_3d_brings_a_hidden_result_back_with_its_volume(warm, slicer, phantom):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    other = warm.add_volume(phantom[0], "other")
    node = warm.add_segmentation(phantom[1], warm.volume, "hidden")
    node.GetDisplayNode().SetVisibility(False)
    over = warm.add_segmentation(phantom[1], other, "over")
    composite.SetBackgroundVolumeID(other.GetID())
    warm.parameters.outputSegmentation = node
    warm.events()
    assert not warm.ui.show3DButton.isChecked()
    warm.ui.show3DButton.click()
    assert warm.ui.show3DButton.isChecked()
    assert composite.GetBackgroundVolumeID() == warm.volume.GetID()
    assert (node.GetDisplayNode().GetVisibility(), over.GetDisplayNode().GetVisibility()) == (1, 0)


def test_what_belongs_to_the_volume_that_is_shown_stays_in_sight(two, slicer, phantom):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    reference = two.add_segmentation(phantom[1], two.volume)
    drawn = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "of nothing")
    drawn.CreateDefaultDisplayNodes()
    run(two)
    assert reference.GetDisplayNode().GetVisibility() and drawn.GetDisplayNode().GetVisibility()


def test_the_result_goes_to_segment_editor_with_its_volume(warm, slicer):
    assert not warm.ui.editButton.isEnabled()
    run(warm)
    warm.ui.editButton.click()
    given = slicer.modules.SegmentEditorWidget.editor.given
    assert given == {"segmentation": warm.parameters.outputSegmentation, "volume": warm.volume}
    assert {"module": "SegmentEditor"} in slicer.messages


def test_the_time_of_a_run_is_estimated_after_the_first(warm, phantom):
    assert not warm.ui.estimateLabel.isVisible()
    run(warm)
    assert not warm.ui.estimateLabel.isVisible()
    choose(warm, warm.add_volume(phantom[0], "next"))
    assert warm.ui.estimateLabel.isVisible()
    assert warm.ui.estimateLabel.text().startswith("A run will take about ")


def test_the_first_run_is_estimated_by_a_test_of_the_computer(warm, warm_service, phantom, monkeypatch):
    asked = []
    ask = warm_service.ask
    monkeypatch.setattr(warm_service, "ask", lambda request: (asked.append(request.do), ask(request))[1])
    assert not warm.ui.estimateLabel.isVisible()
    warm.widget.enter()
    warm.until(warm.ui.estimateLabel.isVisible)
    assert warm.ui.estimateLabel.text().startswith("The first run will take about ")
    # One speed test is enough, and the times of real runs replace it.
    warm.widget.enter()
    warm.panel.refresh()
    warm.idle()
    assert asked.count("pace") == 1
    run(warm)
    choose(warm, warm.add_volume(phantom[0], "next"))
    assert warm.ui.estimateLabel.text().startswith("A run will take about ")


def test_a_panel_without_a_volume_or_a_warm_worker_tests_nothing(warm, warm_service, monkeypatch):
    asked = []
    ask = warm_service.ask
    monkeypatch.setattr(warm_service, "ask", lambda request: (asked.append(request.do), ask(request))[1])
    warm.parameters.keepWarm = False
    warm.widget.enter()
    warm.events(0.3)
    warm.parameters.keepWarm = True
    warm.parameters.inputVolume = None
    warm.widget.enter()
    warm.until(lambda: "devices" in asked and warm.panel._devicesJob is None)
    warm.events(0.3)
    assert "pace" not in asked and not warm.ui.estimateLabel.isVisible()
