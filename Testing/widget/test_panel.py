"""The panel: opening, help texts, changes of the scene, and saved scenes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from lvnet.checkpoint import load_checkpoint
from stalls import StallWatch

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
UI = MODULE / "Resources" / "UI" / "LVNetSegmentation.ui"


def test_every_widget_of_the_ui_file_comes_up(bench):
    names = {widget.get("name") for widget in ElementTree.parse(UI).getroot().iter("widget")}
    assert names - {"LVNetSegmentation"} <= set(vars(bench.ui))


def test_every_parameter_that_the_ui_file_names_is_bound_both_ways(bench):
    assert bench.ui.overlapSpinBox.value() == 0.5
    bench.ui.overlapSpinBox.setValue(0.25)
    assert bench.parameters.overlap == 0.25
    bench.parameters.threads = 3
    assert bench.ui.threadsSpinBox.value() == 3
    bench.ui.postprocessCheckBox.click()
    assert bench.parameters.postprocess is False
    bench.parameters.batchFormat = ".nii.gz"
    assert bench.ui.batchFormatComboBox.currentText() == ".nii.gz"


def test_the_panel_passes_on_every_setting_that_the_scene_keeps(bench, monkeypatch):
    from lvnet.pipeline.options import SegmentOptions, settings_of
    from LVNetSegmentationLib.panel import modulepanel

    defaults = SegmentOptions().to_dict()
    # `series` needs a folder, and the panel always uses the organ search.
    del defaults["series"], defaults["search"]
    assert bench.panel.settings() == defaults
    bench.parameters.overlap, bench.parameters.threads, bench.parameters.postprocess = 0.25, 3, False
    assert bench.panel.settings() == {**defaults, "overlap": 0.25, "threads": 3, "postprocess": False}
    # An additional setting that the parameter node has as an attribute.
    monkeypatch.setattr(modulepanel, "settings_of", lambda: {**settings_of(), "keepWarm": None})
    assert bench.panel.settings()["keepWarm"] is True


def test_presets_and_formats_are_those_of_the_core(bench):
    from lvnet.metrics import PRESETS

    box = bench.ui.presetComboBox
    assert box.count() == len(PRESETS)
    for index, (name, preset) in enumerate(PRESETS.items()):
        box.activated.emit(index)
        assert bench.parameters.preset == name
        assert box.currentIndex() == index
        assert box.toolTip() == preset.summary
    assert box.itemText(0) == "LiTS challenge"


def test_only_what_a_clinician_needs_is_unfolded(bench):
    names = ("segment", "compare", "batch", "advanced", "log")
    folded = [name for name in names if getattr(bench.ui, f"{name}CollapsibleButton").collapsed]
    assert folded == ["compare", "batch", "advanced", "log"]


def test_without_a_volume_apply_says_why_it_is_off(bench):
    assert not bench.ui.applyButton.isEnabled()
    assert bench.ui.applyButton.toolTip() == "Choose an input volume."
    assert bench.ui.batchButton.toolTip() == "The scene contains no volume."
    assert bench.ui.compareButton.toolTip() == "Choose the segmentation to evaluate."
    assert bench.ui.show3DButton.toolTip() == "There is no segmentation yet."


def test_the_first_volume_is_chosen_when_the_panel_is_opened(bench, phantom):
    volume = bench.add_volume(phantom[0])
    bench.widget.exit()
    bench.widget.enter()
    assert bench.parameters.inputVolume is volume


def test_what_the_bundled_weights_segment_and_how_well_is_shown(bench):
    text = bench.ui.weightsInfoLabel.text()
    assert text.startswith("Bundled weights: lvnet-liver, for liver. ")
    dice = load_checkpoint().recipe.provenance["best_validation_dice"]
    assert f"Mean DICE on the validation scans: {dice:.2f}; expect less on other scans" in text


def test_weights_that_cannot_be_read_keep_apply_off_and_say_why(ready, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a checkpoint")
    ready.ui.weightsPathLineEdit.box.setEditText(str(broken))
    assert ready.parameters.weights == str(broken)
    assert not ready.ui.applyButton.isEnabled()
    assert "broken.safetensors" in ready.ui.applyButton.toolTip()
    assert ready.ui.weightsInfoLabel.text().endswith(ready.ui.applyButton.toolTip())
    ready.ui.weightsPathLineEdit.box.setEditText("")
    assert ready.ui.applyButton.isEnabled()


def test_other_weights_are_asked_about_their_own_organ(bench, phantom, tmp_path):
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet
    from lvnet.recipe import Architecture, LabelClass, Recipe
    from lvnet.volume import Volume

    torch.manual_seed(1)
    recipe = Recipe(Architecture(widths=(4, 8)), classes=(LabelClass(2, "kidney"),), name="other")
    path = tmp_path / "kidney.safetensors"
    save_checkpoint(path, LVNet(recipe.architecture).state_dict(), recipe)
    bench.parameters.inputVolume = bench.add_volume(Volume(phantom[0].array[4:8].copy(), phantom[0].spacing), "slab")
    assert "liver" in bench.ui.inputFindingsLabel.text() and bench.ui.anywayCheckBox.isVisible()
    bench.ui.weightsPathLineEdit.box.setEditText(str(path))
    assert "liver" not in bench.ui.inputFindingsLabel.text() and not bench.ui.anywayCheckBox.isVisible()
    bench.ui.weightsPathLineEdit.box.setEditText("")
    assert "liver" in bench.ui.inputFindingsLabel.text()


def test_a_volume_that_is_no_ct_is_a_question_in_the_panel_not_a_pop_up(bench, phantom):
    scan = phantom[0]
    odd = bench.add_volume(scan.with_array(((scan.array.astype(float) + 1100) / 12).astype("int16")), "mr")
    bench.parameters.inputVolume = odd
    assert bench.ui.anywayCheckBox.isVisible()
    assert not bench.ui.applyButton.isEnabled()
    assert "Segment it anyway" in bench.ui.applyButton.toolTip()
    bench.ui.anywayCheckBox.click()
    assert bench.ui.applyButton.isEnabled()
    bench.parameters.inputVolume = bench.add_volume(scan.with_array(scan.array.copy()), "ct")
    bench.parameters.inputVolume = odd
    assert not bench.ui.anywayCheckBox.isChecked()


def test_a_device_that_a_scene_names_stays_chosen_where_it_is_absent(bench):
    bench.parameters.device = "cuda:3"
    assert bench.ui.deviceComboBox.currentText() == "cuda:3 (not found on this computer)"
    bench.panel.run.devices.offer([{"id": "cpu", "name": "CPU", "freeMemory": None}])
    assert bench.parameters.device == "cuda:3"


def test_a_gpu_is_offered_by_name_with_its_free_memory(bench):
    gpu = {"id": "cuda:0", "name": "NVIDIA RTX A4000", "freeMemory": 14.25 * 2**30}
    bench.panel.run.devices.offer([{"id": "cpu", "name": "CPU, 8 threads", "freeMemory": None}, gpu])
    box = bench.ui.deviceComboBox
    texts = [box.itemText(index) for index in range(box.count())]
    assert texts == ["Automatic", "GPU 0: NVIDIA RTX A4000, 14.2 GB free", "CPU, 8 threads"]
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert bench.parameters.device == "cuda:0"


def test_opening_the_panel_asks_the_worker_for_the_devices(bench):
    bench.widget.enter()
    bench.until(lambda: bench.panel._devicesJob is None)
    assert bench.ui.deviceComboBox.count() >= 2
    assert "not known" not in bench.log()


def test_a_saved_scene_brings_every_choice_back(bench, slicer, phantom, tmp_path):
    bench.add_volume(phantom[0], "mine")
    bench.parameters.inputVolume = slicer.util.getNode("mine")
    bench.parameters.overlap = 0.75
    bench.parameters.device = "cpu"
    bench.parameters.preset = "chaos"
    bench.parameters.batchInputFolder = "/some/where/ü"
    path = str(tmp_path / "scene.mrml")
    slicer.mrmlScene.SetURL(path)
    assert slicer.mrmlScene.Commit(path)
    slicer.mrmlScene.Clear(0)
    assert bench.parameters.overlap == 0.5
    slicer.mrmlScene.SetURL(path)
    slicer.mrmlScene.Import()
    bench.events()
    assert bench.parameters.overlap == 0.75
    assert bench.ui.overlapSpinBox.value() == 0.75
    assert bench.ui.deviceComboBox.currentText().startswith("CPU")
    assert bench.ui.presetComboBox.currentText() == "CHAOS challenge"
    assert bench.ui.batchInputPathLineEdit.box.currentText() == "/some/where/ü"
    assert bench.parameters.inputVolume.GetName() == "mine"


def test_closing_the_scene_empties_the_panel(ready, slicer):
    slicer.mrmlScene.Clear(0)
    ready.events()
    assert ready.parameters.inputVolume is None
    assert not ready.ui.applyButton.isEnabled()
    assert ready.panel.run.inputFindings.findings == []


def test_a_scene_that_is_closed_while_another_module_is_open_binds_nothing(bench, slicer):
    bench.widget.exit()
    bench.widget.parent.isEntered = False
    slicer.mrmlScene.Clear(0)
    assert bench.parameters is None
    bench.widget.enter()
    assert bench.parameters is not None


def test_reloading_the_module_reads_its_library_again(bench, slicer, monkeypatch):
    import sys

    from slicer_windows.scripted_module import reload_module

    before = sys.modules["LVNetSegmentationLib.panel.run"]
    parent = bench.widget.parent
    monkeypatch.setattr(slicer.util, "reloadScriptedModule", lambda name: reload_module(name, parent))
    bench.widget.onReload()
    bench.widget = slicer.modules.LVNetSegmentationWidget
    assert sys.modules["LVNetSegmentationLib.panel.run"] is not before
    assert bench.ui.applyButton.text() == "Apply"
    assert parent.layout().count() == 1


def test_every_button_can_be_clicked_while_nothing_is_chosen(bench, tmp_path):
    """Unavailable actions are disabled; everything that can be clicked is harmless."""
    import qt

    for widget in vars(bench.ui).values():
        if isinstance(widget, qt.QPushButton):
            widget.click()
            bench.events()
    bench.until(lambda: bench.panel.advanced._job is None)
    assert not bench.panel.busy


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (4200, "1 h 10 min")]
)
def test_durations_are_said_no_finer_than_a_person_cares_for(module, seconds, words):
    from LVNetSegmentationLib.panel.wording import duration

    assert duration(seconds) == words


def test_the_module_says_what_it_is_how_to_cite_it_and_where_its_help_is(slicer, module):
    from types import SimpleNamespace

    parent = SimpleNamespace()
    module.LVNetSegmentation(parent)
    assert parent.title == "LV-Net Segmentation"
    assert parent.categories == ["Segmentation"]
    assert module.HOMEPAGE in parent.helpText
    doi = re.search(r'doi: "([^"]+)"', (MODULE.parent / "CITATION.cff").read_text(encoding="utf-8")).group(1)
    assert doi in parent.helpText
    assert "research use only" in parent.acknowledgementText
    assert slicer.app.connected["startupCompleted()"] == [module.registerSampleData]


def test_slicers_sample_data_module_takes_both_samples(slicer, module, bench):
    from slicer_windows import sample_data

    module.registerSampleData()
    phantom, liver = sample_data.sources["LV-Net Segmentation"]
    assert phantom.sampleName == "Synthetic abdomen (phantom) with reference"
    assert all(Path(source.thumbnailFileName).is_file() for source in (phantom, liver))
    assert liver.customDownloader is None
    assert liver.fileNames == ["CTLiver.nrrd"]
    checksum = "e16eae0ae6fefa858c5c11e58f0f1bb81834d81b7102e021571056324ef6f37e"
    assert liver.uris[0] == slicer.util.TESTING_DATA_URL + "SHA256/" + checksum
    assert liver.checksums == ["SHA256:" + checksum]


def test_the_sample_is_computed_elsewhere_while_the_window_lives(slicer, module, bench):
    from LVNetSegmentationLib.nodes import ownSegmentIds
    from slicer_windows import sample_data

    module.registerSampleData()
    loader = sample_data.sources["LV-Net Segmentation"][0].customDownloader

    with StallWatch() as watch:
        loader(None)
        loader(None)  # a second click
        while loader.loading:
            bench.events()
            watch.turn()
    # Two calls: the scan was added only once.
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert slicer.util.getNode("Synthetic abdomen").GetImageData().GetNumberOfPoints() > 1_000_000
    reference = slicer.util.getNode("Synthetic abdomen reference")
    assert reference.GetSegmentation().GetNthSegment(0).GetName() == "liver"
    assert ownSegmentIds(reference) == []
    assert watch.longest < 0.2, watch.gaps


def test_a_slicer_without_the_sample_data_module_starts_too(module, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "SampleData", None)
    module.registerSampleData()
