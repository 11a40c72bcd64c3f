"""The section `Batch`, and the advanced settings."""

from __future__ import annotations

import numpy as np
import pytest


def rows(bench) -> dict:
    table = bench.ui.batchTableWidget
    return {table.item(row, 0).text(): table.item(row, 1).text() for row in range(table.rowCount())}


@pytest.fixture
def three(ready, phantom):
    """Two scans, and one between them that cannot be segmented."""
    scan = phantom[0]
    ready.slicer.mrmlScene.RemoveNode(ready.volume)
    ready.add_volume(scan, "first")
    ready.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    ready.add_volume(scan.with_array(scan.array.copy()), "last")
    ready.ui.batchCollapsibleButton.collapsed = False
    ready.events()
    return ready


def test_all_volumes_of_the_scene_are_segmented_and_one_that_fails_stops_no_other(three, slicer):
    three.ui.batchButton.click()
    assert three.ui.batchButton.text() == "Cancel"
    assert three.ui.applyButton.toolTip() in ("A batch is running.", "Choose an input volume.")
    three.idle()
    results = rows(three)
    assert list(results) == ["first", "empty", "last"]
    assert " ml" in results["first"]
    assert " ml" in results["last"]
    assert "no voxels" in results["empty"]
    assert three.ui.batchStatusLabel.text().startswith("2 of 3 scans segmented in ")
    names = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
    assert names == {"first segmentation", "last segmentation"}


def test_only_the_result_of_the_volume_that_is_shown_is_drawn(three, slicer):
    composite = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetBackgroundVolumeID(slicer.util.getNode("last").GetID())
    three.ui.batchButton.click()
    three.idle()
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    drawn = {node.GetName(): bool(node.GetDisplayNode().GetVisibility()) for node in nodes}
    assert drawn == {"first segmentation": False, "last segmentation": True}


def test_a_cancelled_batch_keeps_what_is_done_and_starts_nothing_more(three, slicer):
    three.ui.batchButton.click()
    three.until(lambda: " ml" in rows(three).get("first", ""))
    three.ui.batchButton.click()
    three.idle()
    assert "cancelled" in rows(three).values()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") >= 1
    assert three.ui.batchButton.text() == "Start"


def test_a_folder_is_segmented_into_another_and_the_scene_stays_as_it_was(ready, phantom, tmp_path):
    from lvnet.image_io import write_image

    source, target = tmp_path / "scans ü", tmp_path / "results"
    source.mkdir()
    write_image(phantom[0], source / "one.nii.gz")
    (source / "two.nii.gz").write_bytes(b"no image")
    (source / "empty").mkdir()
    slices = phantom[0].array[:4].astype(np.float32)
    slices[0, 0, 0] = np.nan
    write_image(phantom[0].__class__(slices, phantom[0].spacing), source / "three.nii.gz")
    before = ready.names_of_nodes()
    ready.ui.folderRadioButton.click()
    assert ready.parameters.batchOfFolder is True
    assert ready.ui.batchButton.toolTip() == "Choose a folder of scans."
    ready.ui.batchInputPathLineEdit.box.setEditText(str(source))
    assert ready.ui.batchButton.toolTip() == "Choose a folder for the results."
    ready.ui.batchOutputPathLineEdit.box.setEditText(str(target))
    ready.ui.batchSeriesLineEdit.setText("4")
    assert ready.parameters.batchSeries == "4"
    ready.ui.batchButton.click()
    ready.idle()
    assert sorted(path.name for path in target.iterdir()) == ["one.seg.nrrd", "three.seg.nrrd"]
    results = rows(ready)
    assert results["empty"].startswith("left out: the folder contains no DICOM")
    assert " ml" in results["one.nii.gz"]
    assert " ml" not in results["two.nii.gz"]
    assert ready.ui.batchStatusLabel.text().startswith("2 of 3 scans segmented in ")
    # The messages about scans of a folder are shown here, since the user has not seen them before.
    assert "1 voxel without a finite value" in results["three.nii.gz"]
    assert "the scan is only 20 mm high" in results["three.nii.gz"]
    assert ready.names_of_nodes() == before


def test_a_scan_that_is_done_changes_no_row_of_another(ready):
    """Each scan is written into the table once, however many scans a folder contains."""
    written = []
    table = ready.ui.batchTableWidget
    table.cellChanged.connect(lambda row, column: written.append((row, column)))
    for index in range(5):
        scan = {"input": f"/scans/{index}.nii.gz", "error": None, "volumes_ml": {"liver": 1500.0 + index}}
        ready.panel.batch._onFolderScan(scan)
    table.cellChanged.disconnect()
    assert written == [(row, column) for row in range(5) for column in (0, 1)]
    assert rows(ready) == {f"{index}.nii.gz": f"liver {1500 + index} ml" for index in range(5)}
    assert table.item(3, 1).toolTip() == "liver 1503 ml"


def test_a_folder_that_cannot_be_read_is_one_line(ready, tmp_path):
    ready.parameters.batchOfFolder = True
    ready.parameters.batchInputFolder = str(tmp_path)
    ready.parameters.batchOutputFolder = str(tmp_path / "out")
    ready.ui.batchButton.click()
    ready.idle()
    assert ready.ui.batchStatusLabel.text()
    assert len(ready.ui.batchStatusLabel.text().splitlines()) == 1


def test_a_folder_batch_can_be_cancelled(ready, phantom, tmp_path):
    from lvnet.image_io import write_image

    (tmp_path / "in").mkdir()
    for name in "abcdef":
        write_image(phantom[0], tmp_path / "in" / f"{name}.nrrd")
    ready.parameters.batchOfFolder = True
    ready.parameters.batchInputFolder = str(tmp_path / "in")
    ready.parameters.batchOutputFolder = str(tmp_path / "out")
    ready.ui.batchButton.click()
    # Each scan is listed as soon as it is finished.
    ready.until(lambda: len(rows(ready)) >= 2)
    assert ready.panel.busy
    ready.ui.batchButton.click()
    ready.idle()
    assert ready.ui.batchStatusLabel.text() == "Cancelled; finished results are kept."
    told = rows(ready)
    assert all(" ml" in words for words in told.values())
    assert {f"{name.partition('.')[0]}.seg.nrrd" for name in told} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert ready.ui.batchButton.text() == "Start"


def test_check_says_which_pytorch_there_is(bench):
    bench.ui.torchButton.click()
    assert not bench.ui.torchButton.isEnabled()
    bench.until(lambda: bench.panel.advanced._job is None)
    assert bench.ui.torchInfoLabel.text().startswith("PyTorch ")
    bench.until(lambda: bench.panel._devicesJob is None)


def test_the_folder_of_the_logs_can_be_opened(bench):
    from slicer_windows import qt_names

    bench.ui.logFolderButton.click()
    assert [path.replace("//", "/") for path in qt_names.opened] == [bench.widget.logic.logFolder()]
