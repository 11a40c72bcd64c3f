"""The section `Compare with a reference`."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from stalls import StallWatch


@pytest.fixture
def pair(bench, phantom):
    """A reference, and a segmentation that misses some of it."""
    scan, label = phantom
    bench.volume = bench.add_volume(scan)
    smaller = label.array.copy()
    smaller[:, :, : int(np.flatnonzero(label.array.any(axis=(0, 1)))[0]) + 3] = 0
    bench.parameters.comparedNode = bench.add_segmentation(label.with_array(smaller), bench.volume, "found")
    bench.parameters.referenceNode = bench.add_segmentation(label, bench.volume, "drawn")
    bench.ui.compareCollapsibleButton.collapsed = False
    bench.events()
    bench.expected = 2 * (smaller & label.array).sum() / (smaller.sum() + label.array.sum())
    return bench


def compare(bench) -> None:
    bench.ui.compareButton.click()
    bench.until(lambda: not bench.panel.compare.running)


def shown(bench) -> dict:
    table = bench.ui.metricsTableWidget
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount())}


def test_the_five_metrics_and_both_volumes_are_shown_and_stand_in_a_table_node(pair):
    compare(pair)
    values = shown(pair)
    assert list(values) == ["DICE", "VOE", "RVD", "ASSD", "MSSD", "Volume", "Reference volume"]
    assert float(values["DICE"]) == pytest.approx(pair.expected, abs=5e-5)
    assert values["ASSD"].endswith(" mm")
    assert values["Volume"].endswith(" ml")
    table = pair.parameters.metricsTable.GetTable()
    assert table.GetNumberOfRows() == 1
    assert float(table.GetColumnByName("DICE").GetValue(0)) == pytest.approx(pair.expected)


def test_a_second_comparison_goes_into_the_same_table(pair):
    compare(pair)
    node = pair.parameters.metricsTable
    pair.ui.presetComboBox.activated.emit(1)
    compare(pair)
    assert pair.parameters.metricsTable is node
    assert node.GetTable().GetNumberOfRows() == 2
    assert shown(pair)["RVD"].endswith(" %")


def test_a_reference_can_be_a_label_map_and_the_label_is_chosen(pair, slicer, phantom):
    label = phantom[1]
    node = pair.add_volume(label.with_array((label.array * 6).astype(np.uint8)), "labels")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "label map")
    labels.SetAndObserveImageData(node.GetImageData())
    labels.CopyOrientation(node)
    pair.parameters.referenceNode = labels
    box = pair.ui.referenceSegmentComboBox
    assert [box.itemText(index) for index in range(box.count())] == ["label 6"]
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_segments_to_compare_have_their_volumes_behind_their_names(pair, slicer, phantom):
    """Segments that do not overlap share an image, as in a segmentation loaded from a file."""
    node = pair.parameters.referenceNode
    empty = node.GetSegmentation().AddEmptySegment("", "tail")
    tail = np.zeros_like(phantom[1].array)
    tail[:5, :40, :40] = 1 - phantom[1].array[:5, :40, :40]
    slicer.util.updateSegmentBinaryLabelmapFromArray(tail, node, empty, pair.volume)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    images = {node.GetSegmentation().GetNthSegment(index).GetRepresentation("Binary labelmap") for index in (0, 1)}
    assert len(images) == 1
    pair.panel.refresh()
    pair.until(lambda: not pair.panel.volumes.counting)
    box = pair.ui.referenceSegmentComboBox
    millilitres = 5.0 * 4.2 * 4.2 / 1000
    whole, part = phantom[1].array.sum() * millilitres, tail.sum() * millilitres
    assert [box.itemText(index) for index in range(box.count())] == [f"liver ({whole:.0f} ml)", f"tail ({part:.0f} ml)"]
    box.setCurrentIndex(1)
    node.GetSegmentation().AddEmptySegment("", "other")
    pair.panel.refresh()
    assert box.currentText().startswith("tail")


def add_label_map(pair, slicer, label, array):
    node = pair.add_volume(label.with_array(array.astype(np.uint8)), "labels")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "label map")
    labels.SetAndObserveImageData(node.GetImageData())
    labels.CopyOrientation(node)
    pair.parameters.referenceNode = labels
    box = pair.ui.referenceSegmentComboBox
    return [box.itemText(index) for index in range(box.count())]


def test_the_numbers_of_public_data_sets_are_named_beside_the_labels(pair, slicer, phantom):
    label = phantom[1]
    lits = label.array.copy()
    where = np.argwhere(label.array)
    lits[tuple(where[len(where) // 2])] = 2
    assert add_label_map(pair, slicer, label, lits) == [
        "labels 1 + 2 (liver with tumours in lits)",
        "label 1 (liver in flare, word)",
        "label 2",
    ]
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)
    total = label.array * 5
    total[0, 0, 0] = 1
    assert "label 5 (liver in totalsegmentator, totalsegmentator-v1)" in add_label_map(pair, slicer, label, total)


def choose_data_set(bench, name: str) -> None:
    """Chooses a data set as a user does."""
    box = bench.ui.referenceSetComboBox
    box.setCurrentIndex(box.findText(name))
    box.activated.emit(box.currentIndex())
    bench.events()


def test_every_reference_set_of_the_core_can_be_chosen_and_the_names_count_unless_one_is(bench):
    from lvnet.evaluation import REFERENCE_SETS

    box = bench.ui.referenceSetComboBox
    assert box.currentText() == "By name"
    assert box.count() == 1 + len(REFERENCE_SETS)
    for index, name in enumerate(["", *REFERENCE_SETS]):
        box.activated.emit(index)
        assert bench.parameters.referenceSet == name


@pytest.mark.parametrize(
    ("name", "liver"), [("LiTS", 1), ("BTCV", 6), ("TotalSegmentator", 5), ("AMOS", 6), ("CHAOS", 255)]
)
def test_the_liver_is_chosen_by_the_numbers_of_the_data_set(pair, slicer, phantom, name, liver):
    label = phantom[1]
    array = label.array.astype(np.uint8) * liver
    array[0, 0, :2] = 3, 4
    add_label_map(pair, slicer, label, array)
    choose_data_set(pair, name)
    assert pair.ui.referenceSegmentComboBox.currentText() == f"liver (label {liver})"
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_with_the_numbers_of_lits_tumours_count_as_liver(pair, slicer, phantom):
    label = phantom[1]
    lits = label.array.copy()
    lits[tuple(np.argwhere(label.array)[len(np.argwhere(label.array)) // 2])] = 2
    add_label_map(pair, slicer, label, lits)
    choose_data_set(pair, "LiTS")
    box = pair.ui.referenceSegmentComboBox
    names = [box.itemText(index) for index in range(box.count())]
    assert names == ["liver with its tumours (labels 1 + 2)", "liver (label 1)", "liver tumour (label 2)"]
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)
    choose_data_set(pair, "By name")
    assert box.itemText(0) == "labels 1 + 2 (liver with tumours in lits)"


def test_where_the_data_set_has_no_liver_among_the_labels_nothing_is_compared_until_one_is_chosen(
    pair, slicer, phantom
):
    """Otherwise the table would contain zeros: in BTCV, label 1 is the spleen."""
    label = phantom[1]
    both = label.array.copy()
    both[0, 0, 0] = 2
    add_label_map(pair, slicer, label, both)
    choose_data_set(pair, "BTCV")
    box = pair.ui.referenceSegmentComboBox
    assert [box.itemText(index) for index in range(box.count())] == ["spleen (label 1)", "right kidney (label 2)"]
    assert not pair.ui.compareButton.isEnabled()
    assert "BTCV" in pair.ui.compareButton.toolTip()
    assert "no liver" in pair.ui.compareButton.toolTip()
    box.setCurrentIndex(0)
    box.activated.emit(0)
    pair.events()
    assert pair.ui.compareButton.isEnabled()
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_a_single_label_that_the_data_set_calls_otherwise_can_still_be_chosen(pair, slicer, phantom):
    add_label_map(pair, slicer, phantom[1], phantom[1].array)
    choose_data_set(pair, "BTCV")
    box = pair.ui.referenceSegmentComboBox
    assert (box.currentIndex(), box.itemText(0), box.isEnabled()) == (-1, "spleen (label 1)", True)
    assert not pair.ui.compareButton.isEnabled()


@pytest.mark.parametrize("pattern", ["Segment_{}", "Label_{}", "{}"])
def test_segments_that_slicer_named_by_number_take_the_names_of_the_data_set(pair, pattern):
    """As after converting a label map to a segmentation: the segments are named after their values."""
    segmentation = pair.parameters.referenceNode.GetSegmentation()
    segmentation.GetNthSegment(0).SetName(pattern.format(6))
    segmentation.AddEmptySegment("other", pattern.format(1))
    pair.panel.refresh()
    assert pair.ui.referenceSetComboBox.isEnabled()
    choose_data_set(pair, "BTCV")
    assert pair.ui.referenceSegmentComboBox.currentText().startswith("liver (label 6)")
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_a_reference_with_names_needs_no_data_set(pair):
    box = pair.ui.referenceSetComboBox
    assert not box.isEnabled()
    pair.parameters.referenceSet = "btcv"
    pair.events()
    assert box.currentText() == "By name"
    assert pair.ui.referenceSegmentComboBox.currentText().startswith("liver")


def test_a_scene_that_names_an_unknown_data_set_opens(pair, slicer, phantom):
    pair.parameters.referenceSet = "set of 2031"
    add_label_map(pair, slicer, phantom[1], phantom[1].array)
    assert pair.ui.referenceSetComboBox.currentText() == "By name"
    assert pair.ui.compareButton.isEnabled()


def test_the_liver_with_its_tumours_is_offered_and_chosen_first(pair):
    segmentation = pair.parameters.referenceNode.GetSegmentation()
    segmentation.AddEmptySegment("lesion", "liver tumor")
    pair.panel.refresh()
    box = pair.ui.referenceSegmentComboBox
    assert [box.itemText(index) for index in range(box.count())] == ["liver with its tumours", "liver", "liver tumor"]
    assert box.currentText() == "liver with its tumours"
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_the_segment_of_the_same_kind_is_chosen_among_several(pair):
    segmentation = pair.parameters.referenceNode.GetSegmentation()
    segmentation.AddEmptySegment("spleen", "spleen")
    pair.panel.refresh()
    box = pair.ui.referenceSegmentComboBox
    assert box.count() == 2
    assert box.currentText() == "liver"


def test_numbers_can_be_copied_for_a_spreadsheet(pair, slicer):
    compare(pair)
    pair.ui.copyButton.click()
    lines = slicer.app.clipboard().text().splitlines()
    assert [line.split("\t")[0] for line in lines] == list(shown(pair))
    assert dict(line.split("\t") for line in lines) == shown(pair)


def test_the_table_is_written_as_csv_where_the_user_says(pair, tmp_path):
    from slicer_windows import qt_names

    compare(pair)
    path = tmp_path / "zahlen ü.csv"
    qt_names.file_answers[:] = ["", str(path)]
    pair.ui.exportCsvButton.click()
    assert not path.exists()
    pair.ui.exportCsvButton.click()
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert float(rows[0]["DICE"]) == pytest.approx(pair.expected)
    assert str(path) in pair.ui.compareStatusLabel.text()


def test_a_file_that_cannot_be_written_is_one_line(pair, tmp_path):
    from slicer_windows import qt_names

    compare(pair)
    qt_names.file_answers[:] = [str(tmp_path / "missing" / "a.csv")]
    pair.ui.exportCsvButton.click()
    assert len(pair.ui.compareStatusLabel.text().splitlines()) == 1


def test_two_empty_masks_give_dashes_with_the_reason_and_no_error(pair, phantom):
    empty = phantom[1].with_array(0 * phantom[1].array)
    pair.parameters.comparedNode = pair.add_segmentation(empty, pair.volume, "nothing")
    compare(pair)
    table = pair.ui.metricsTableWidget
    row = list(shown(pair)).index("ASSD")
    assert table.item(row, 1).text() == "–"
    assert table.item(row, 1).toolTip()


def test_a_comparison_that_cannot_be_made_is_one_line_in_the_panel(pair, monkeypatch):
    from lvnet.errors import GeometryError

    def fail(*_args, **_kwargs):
        raise GeometryError("the two lie on different grids; resample one of them")

    monkeypatch.setattr("LVNetSegmentationLib.comparing.maskInSteps", fail)
    compare(pair)
    assert pair.ui.compareStatusLabel.text() == "The two lie on different grids; resample one of them"
    assert not pair.ui.metricsTableWidget.isVisible()


def test_compare_is_off_for_a_segmentation_with_itself(pair):
    pair.parameters.referenceNode = pair.parameters.comparedNode
    assert not pair.ui.compareButton.isEnabled()
    assert "other than the segmentation itself" in pair.ui.compareButton.toolTip()


def test_closing_the_scene_takes_the_numbers_away(pair, slicer):
    compare(pair)
    slicer.mrmlScene.Clear(0)
    pair.events()
    assert shown(pair) == {}
    assert not pair.ui.copyButton.isEnabled()


def matrix_of(values):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(values.ravel())
    return matrix


@pytest.mark.parametrize("sheared", [False, True])
def test_a_large_comparison_does_not_hold_the_window(bench, phantom, sheared):
    """512 x 512 x 119 voxels, which used to block the window for one second, and for two under a gantry tilt."""
    label = phantom[1]
    wide = np.repeat(np.repeat(label.array, 6, axis=1), 6, axis=2)[:, :512, :512]
    wide = np.ascontiguousarray(np.repeat(wide, 3, axis=0)[:119])
    node = bench.slicer.util.addVolumeFromArray(wide.astype(np.int16), name="large")
    drawn, found = (label.__class__(array, label.spacing) for array in (wide, np.roll(wide, 3, axis=1)))
    bench.parameters.comparedNode = bench.add_segmentation(found, node, "found")
    bench.parameters.referenceNode = bench.add_segmentation(drawn, node, "drawn")
    if sheared:
        tilt = np.eye(4)
        tilt[1, 2] = 0.3
        transform = bench.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(matrix_of(tilt))
        for compared in (bench.parameters.comparedNode, bench.parameters.referenceNode):
            compared.SetAndObserveTransformNodeID(transform.GetID())
    bench.events(0.2)
    with StallWatch() as watch:
        bench.ui.compareButton.click()
        watch.turn()
        while bench.panel.compare.running:
            bench.events()
            watch.turn()
    assert float(shown(bench)["DICE"]) > 0.8
    assert watch.longest < 0.2, watch.gaps


def test_what_happens_to_the_nodes_while_they_are_compared_changes_nothing(pair, slicer):
    pair.ui.compareButton.click()
    assert not pair.ui.compareButton.isEnabled()
    slicer.mrmlScene.RemoveNode(pair.parameters.referenceNode)
    pair.until(lambda: not pair.panel.compare.running)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)


def test_a_comparison_needs_no_pytorch(pair, monkeypatch):
    monkeypatch.setattr(pair.widget.logic, "torchIsMissing", lambda: True)
    monkeypatch.setattr("LVNetSegmentationLib.dependencies.torch_is_missing", lambda: True)
    compare(pair)
    assert float(shown(pair)["DICE"]) == pytest.approx(pair.expected, abs=5e-5)
