"""From a volume node to a segmentation node with the real worker process, on Slicer's real MRML."""

from __future__ import annotations

import os
import signal
import time
import types
from pathlib import Path

import numpy as np
import pytest
from corpus.studies import Pass, evenly, write_study
from lvnet.errors import Cancelled, CheckpointError, ComputationError, ConfigurationError, ImageError, LVNetError
from lvnet.phantom import make_phantom


@pytest.fixture
def volume_node(slicer_core, scene, oblique_volume):
    """An oblique volume under a transform, for which the network predicts both organ and background."""
    node = oblique_volume
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, 3] = (50.0, 0.0, 0.0)
    slicer_core.util.updateTransformMatrixFromArray(transform, moved)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


@pytest.fixture
def long_volume_node(slicer_core, scene):
    """A volume that takes about 900 slabs with an overlap of 0.9."""
    y, x = np.mgrid[:72, :72]
    plane = 200 * np.sin(x / 3.0) * np.cos(y / 4.0)
    array = np.stack([plane + 20 * np.sin(z) for z in range(900)]).astype(np.int16)
    return slicer_core.util.addVolumeFromArray(array, ijkToRAS=np.diag([2.0, 2.0, 3.0, 1.0]), name="long")


def state_of(scene):
    """Everything in the scene that a run could change: nodes, their modification times and their references."""
    import slicer

    # A real Slicer always has this node; slicer-core creates it on first use.
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    return sorted((n.GetID(), n.GetName() or "", n.GetMTime()) for n in nodes if n is not hierarchy), (
        hierarchy.GetNumberOfItems()
    )


def liver_of(slicer, node, volume_node):
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName("liver")
    return slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, volume_node)


def until_segmenting(logic, job, seen):
    end = time.monotonic() + 90
    while not any(stage == "segmenting" for _, stage, _ in seen):
        logic.poll()
        assert job.isRunning() and time.monotonic() < end
        time.sleep(0.01)


def test_the_nodes_voxels_are_those_that_the_core_finds(slicer_core, scene, logic, volume_node, weights):
    from lvnet.pipeline.python import segment
    from LVNetSegmentationLib.nodes import volumeFromNode

    expected = segment(volumeFromNode(volume_node), weights=weights, device="cpu")
    assert 0 < expected.labels.array.mean() < 1
    seen = []
    node = logic.segment(
        volume_node, device="cpu", weights=weights, threads=1, progress=lambda share, stage: seen.append(share)
    )
    assert np.array_equal(liver_of(slicer_core, node, volume_node), expected.labels.array)
    assert node.GetParentTransformNode() is volume_node.GetParentTransformNode()
    assert node.GetName() == "ct segmentation"
    assert seen == sorted(seen) and seen[-1] > 0.95
    outcome = logic.outcome
    assert outcome.segmentationNode is node
    assert logic.lines[0] == f"liver: {expected.volumes_ml['liver']:.0f} ml"
    assert outcome.volumes == pytest.approx(expected.volumes_ml)
    assert outcome.checks == [(check.verdict, check.sentence) for check in expected.checks]
    assert (outcome.device, outcome.weights) == ("CPU, as requested", "tiny")
    assert outcome.seconds > 0 and os.path.exists(outcome.logPath)


def test_slicers_log_says_how_a_run_was_computed_and_the_next_worker_is_a_new_one_once_numba_is_installed(
    slicer_core, scene, logic, volume_node, weights, monkeypatch, caplog
):
    import sys

    from lvnet.errors import DependencyError
    from lvnet.worker.client import pace

    caplog.set_level("INFO")
    logic.segment(volume_node, device="cpu", weights=weights, threads=1)
    assert logic.outcome.computePath.name == "PyTorch tiles"
    assert " s with PyTorch tiles on CPU, as requested" in caplog.text
    monkeypatch.setitem(sys.modules, "numba", None)
    pace.remember("cpu", 10.0, 60.0)
    slicer_core.pip.forget()
    pid = logic.service.worker_pid
    assert pid is not None and logic.numbaIsMissing()
    with pytest.raises(DependencyError, match=r"Numba could not be installed \(pip ended with code 1\)"):
        logic.installNumba()
    assert logic.service.worker_pid == pid and pace.expected("cpu", 10.0) is not None
    slicer_core.pip.answer = lambda: monkeypatch.delitem(sys.modules, "numba")
    logic.installNumba()
    assert not logic.numbaIsMissing()
    assert logic.service.worker_pid is None and pace.expected("cpu", 10.0) is None
    logic.segment(volume_node, device="cpu", weights=weights, threads=1)
    assert logic.service.worker_pid not in (None, pid)


def test_a_setting_that_is_added_to_the_options_goes_from_the_logics_keywords_to_the_worker(
    scene, logic, volume_node, tmp_path, monkeypatch
):
    from dataclasses import dataclass

    from lvnet.pipeline import options
    from lvnet.pipeline.options import SegmentOptions, settings_of
    from lvnet.pipeline.settings import Setting, count_within, setting
    from lvnet.worker.client import folder_job
    from LVNetSegmentationLib import segmenting

    @dataclass(frozen=True)
    class More(SegmentOptions):
        tile: int = setting(1, Setting(count_within(1, 8, "must be 1 to 8"), "of rows", int, "the tile", "--tile"))

    monkeypatch.setattr(options, "settings_of", lambda kind=More: settings_of(kind))
    for file in (folder_job, segmenting):
        monkeypatch.setattr(file, "SegmentOptions", More)
    sent = []

    def ask(request):
        sent.append((request.do, request.to_message(1)))
        raise LVNetError("not sent")

    monkeypatch.setattr(logic.service, "ask", ask)
    jobs = [
        lambda **more: logic.segmentAsync(volume_node, device="cpu", overlap=0.25, **more),
        lambda **more: logic.segmentFolderAsync(str(tmp_path), str(tmp_path / "out"), overlap=0.25, series="2", **more),
    ]
    for job in jobs:
        with pytest.raises(LVNetError, match="not sent"):
            job(tile=3).wait()
        with pytest.raises(LVNetError, match="the tile must be 1 to 8, not 9"):
            job(tile=9).wait()
        with pytest.raises(TypeError, match="tyle"):
            job(tyle=3)
    assert [do for do, _ in sent] == ["segment", "folder"]
    assert [{name: fields[name] for name in ("tile", "overlap", "series", "threads")} for _, fields in sent] == [
        {"tile": 3, "overlap": 0.25, "series": None, "threads": None},
        {"tile": 3, "overlap": 0.25, "series": "2", "threads": None},
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.uint16])
def test_volumes_of_any_type_are_handed_over_with_their_values(slicer_core, scene, logic, weights, dtype):
    from lvnet.pipeline.python import segment
    from LVNetSegmentationLib.nodes import volumeFromNode

    z, y, x = np.mgrid[:20, :40, :48]
    array = (100 + 90 * np.sin(x / 3.0) * np.cos(y / 4.0) + z / 4).astype(dtype)
    node = slicer_core.util.addVolumeFromArray(array, ijkToRAS=np.diag([-2.0, -2.0, 3.0, 1.0]), name="ct")
    expected = segment(volumeFromNode(node), weights=weights, device="cpu").labels.array
    assert np.array_equal(liver_of(slicer_core, logic.segment(node, device="cpu", weights=weights), node), expected)


def test_a_second_run_into_the_same_node_replaces_the_first(slicer_core, scene, logic, volume_node, weights):
    node = logic.segment(volume_node, device="cpu", weights=weights)
    again = logic.segment(volume_node, node, device="cpu", weights=weights, overlap=0.25, postprocess=False)
    assert again is node
    assert node.GetSegmentation().GetNumberOfSegments() == 1


def test_slicer_goes_on_while_it_runs_and_callbacks_come_from_poll(scene, logic, volume_node, weights):
    calls = []
    job = logic.segmentAsync(
        volume_node, device="cpu", weights=weights,
        onProgress=lambda *step: calls.append(("progress", step)),
        onDone=lambda node, outcome: calls.append(("done", (node, outcome))),
        onError=lambda message: calls.append(("error", message)),
    )  # fmt: skip
    assert calls == [] and job.isRunning()
    longest = 0.0
    while job.isRunning():
        began = time.monotonic()
        logic.poll()
        longest = max(longest, time.monotonic() - began)
        time.sleep(0.01)
    kind, (node, outcome) = calls[-1]
    assert kind == "done" and outcome is logic.outcome
    assert node.GetScene() is scene
    assert {kind for kind, _ in calls[:-1]} == {"progress"}
    assert longest < 2


# Failures that must leave the scene unchanged.


def test_a_run_that_fails_leaves_the_scene_as_it_was(scene, logic, volume_node, tmp_path):
    before = state_of(scene)
    with pytest.raises(CheckpointError):
        logic.segment(volume_node, weights=str(tmp_path / "absent.safetensors"), device="cpu")
    assert state_of(scene) == before


@pytest.mark.parametrize("given", [False, True])
def test_a_killed_worker_leaves_the_scene_as_it_was(scene, logic, long_volume_node, weights, given):
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine") if given else None
    before = state_of(scene)
    seen = []
    job = logic.segmentAsync(
        long_volume_node, output, device="cpu", weights=weights, overlap=0.9, onProgress=lambda *step: seen.append(step)
    )
    until_segmenting(logic, job, seen)
    os.kill(logic.service.worker_pid, signal.SIGKILL)
    with pytest.raises(ComputationError, match="ended from outside"):
        job.wait()
    assert state_of(scene) == before


def test_a_cancelled_run_leaves_the_scene_as_it_was_within_two_seconds(scene, logic, long_volume_node, weights):
    before = state_of(scene)
    seen, cancelled = [], []
    job = logic.segmentAsync(
        long_volume_node, device="cpu", weights=weights, overlap=0.9,
        onProgress=lambda *step: seen.append(step), onCancelled=lambda: cancelled.append(1),
    )  # fmt: skip
    until_segmenting(logic, job, seen)
    began = time.monotonic()
    job.cancel()
    job.cancel()
    while job.isRunning():
        logic.poll()
        time.sleep(0.01)
    assert time.monotonic() - began < 2
    assert cancelled == [1]
    assert state_of(scene) == before


def test_cancelling_while_the_voxels_are_handed_over(scene, logic, long_volume_node, weights):
    job = logic.segmentAsync(long_volume_node, device="cpu", weights=weights)
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()


def test_shutting_down_ends_job_and_worker(scene, logic, long_volume_node, weights):
    before = state_of(scene)
    errors, seen = [], []
    job = logic.segmentAsync(
        long_volume_node, device="cpu", weights=weights, overlap=0.9,
        onProgress=lambda *step: seen.append(step), onError=errors.append,
    )  # fmt: skip
    until_segmenting(logic, job, seen)
    logic.shutdown()
    assert not job.isRunning() and len(errors) == 1
    assert logic.service.worker_pid is None
    assert state_of(scene) == before


@pytest.mark.parametrize("fails", ["writeSegments", "_segmentOf"])
def test_a_result_that_cannot_be_written_leaves_the_scene_as_it_was(
    slicer_core, scene, logic, volume_node, weights, monkeypatch, fails
):
    from LVNetSegmentationLib import nodes

    output = logic.segment(volume_node, device="cpu", weights=weights)
    found = liver_of(slicer_core, output, volume_node).copy()

    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(nodes, fails, fail)
    before = state_of(scene)
    for target in (None, output):
        with pytest.raises(MemoryError):
            logic.segment(volume_node, target, device="cpu", weights=weights)
        assert state_of(scene) == before
    assert np.array_equal(liver_of(slicer_core, output, volume_node), found)


def test_writing_surfaces_and_callback_take_a_turn_each(scene, logic, volume_node, weights, monkeypatch):
    from LVNetSegmentationLib import nodes, segmenting

    output = logic.segment(volume_node, device="cpu", weights=weights)
    segmenting.makeSurfaces(output)
    turns = {"count": 0}

    def noted(owner, name):
        function = getattr(owner, name)

        def call(*arguments):
            turns[name] = turns["count"]
            return function(*arguments)

        monkeypatch.setattr(owner, name, call)

    noted(nodes, "writeSegments")
    noted(segmenting, "makeSurfaces")
    job = logic.segmentAsync(volume_node, output, device="cpu", weights=weights)
    while job.isRunning():
        turns["count"] += 1
        logic.poll()
        time.sleep(0.01)
    assert [turns["writeSegments"] + 1, turns["makeSurfaces"] + 1] == [turns["makeSurfaces"], turns["count"]]
    assert output.GetSegmentation().GetNthSegment(0).GetRepresentation("Closed surface").GetNumberOfPoints()


def run_with(logic, volume_node, weights, change, output=None):
    """A run during which the scene is changed as soon as the network is running."""
    done = []

    def once(share, stage, remaining):
        if share > 0.05 and not done:
            done.append(1)
            change()

    logic.segmentAsync(volume_node, output, device="cpu", weights=weights, onProgress=once).wait()


def test_a_volume_that_is_removed_meanwhile_gets_no_result(scene, logic, volume_node, weights):
    with pytest.raises(ImageError, match="removed"):
        run_with(logic, volume_node, weights, lambda: scene.RemoveNode(volume_node))
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_volume_that_is_replaced_meanwhile_gets_no_result(slicer_core, scene, logic, volume_node, weights):
    smaller = np.zeros((5, 6, 7), np.int16)
    with pytest.raises(ImageError, match="changed"):
        run_with(logic, volume_node, weights, lambda: slicer_core.util.updateVolumeFromArray(volume_node, smaller))
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_an_output_that_is_removed_meanwhile_is_reported(scene, logic, volume_node, weights):
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    with pytest.raises(ImageError, match="output segmentation was removed"):
        run_with(logic, volume_node, weights, lambda: scene.RemoveNode(output), output)


def test_a_transform_that_is_changed_meanwhile_is_honoured(slicer_core, scene, logic, volume_node, weights):
    other = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    run_with(logic, volume_node, weights, lambda: volume_node.SetAndObserveTransformNodeID(other.GetID()))
    assert logic.outcome.segmentationNode.GetParentTransformNode() is other


def test_an_output_that_cannot_be_used_is_refused_before_any_work(scene, logic, volume_node, weights):
    output = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    output.GetSegmentation().AddEmptySegment("", "liver by hand")
    seen = []
    with pytest.raises(ImageError, match="another transform"):
        logic.segment(volume_node, output, weights=weights, progress=lambda *step: seen.append(step))
    assert seen == []


def test_a_second_run_at_once_is_refused_by_its_error(scene, logic, volume_node, weights):
    first = logic.segmentAsync(volume_node, device="cpu", weights=weights)
    errors = []
    second = logic.segmentAsync(volume_node, device="cpu", weights=weights, onError=errors.append)
    with pytest.raises(ConfigurationError):
        second.wait()
    assert "another segmentation is running" in errors[0]
    first.wait()


def test_no_volume_at_all_is_reported(scene, logic):
    errors = []
    job = logic.segmentAsync(None, onError=errors.append)
    logic.poll()
    assert not job.isRunning() and errors == ["no volume was chosen; load a CT and choose it"]


@pytest.mark.parametrize("limited", ["the scan", "the result"])
def test_a_full_disk_leaves_the_scene_as_it_was(scene, logic, long_volume_node, weights, limited, tmp_path):
    """Either the scan or the worker's result is larger than the simulated disk."""
    import resource
    import sys

    from lvnet.errors import ResourceError
    from lvnet.worker.client.process import this_python
    from lvnet.worker.client.service import Service
    from LVNetSegmentationLib.segmenting import SegmentJob

    launcher = tmp_path / "limited"
    launcher.write_text(f'#!/bin/sh\nulimit -f 8\nexec "{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    folder = tmp_path / "disk"
    folder.mkdir()
    python = this_python if limited == "the scan" else lambda: str(launcher)
    service = Service(python=python, folder=lambda: folder)
    settings = {"device": "cpu", "weights": weights, "overlap": 0.0, "postprocess": True, "threads": 1}
    before, limits = state_of(scene), resource.getrlimit(resource.RLIMIT_FSIZE)
    if limited == "the scan":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(ResourceError, match="full"):
            SegmentJob(service, long_volume_node, None, settings).start().wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        service.shutdown()
    assert state_of(scene) == before
    assert list(folder.iterdir()) == []


# Repeated runs, real organs, and the rest of the logic.


def test_a_hundred_runs_leave_no_node_no_file_and_no_process_behind(scene, logic, volume_node, weights):
    import gc

    import vtk

    output = logic.segment(volume_node, device="cpu", weights=weights)
    before, pid = state_of(scene)[1], logic.service.worker_pid
    count = scene.GetNumberOfNodes()
    images = []
    for number in range(100):
        logic.segment(volume_node, output, device="cpu", weights=weights)
        if number in (20, 99):
            gc.collect()
            images.append(sum(issubclass(type(o), vtk.vtkObjectBase) for o in gc.get_objects()))
    assert scene.GetNumberOfNodes() == count and state_of(scene)[1] == before
    assert logic.service.worker_pid == pid
    assert images[1] <= images[0] + 5
    assert len(os.listdir(f"/proc/{os.getpid()}/fd")) < 200


def test_a_made_abdomen_gives_its_liver_and_its_metrics(slicer_core, scene, logic):
    """With the bundled weights, from the scan to the table."""
    from lvnet.recipe import LIVER
    from LVNetSegmentationLib.nodes import addSegmentationNode, addVolumeNode, piecesOf, writeSegments

    scan, label = make_phantom(1)
    node = addVolumeNode(scan, "Synthetic abdomen")
    assert logic.checkInput(node) == []
    reference = addSegmentationNode(node)
    writeSegments(piecesOf(label.array, [LIVER]), node, reference)
    segmentation = logic.segment(node, device="cpu", overlap=0.0)
    result, table = logic.evaluate(segmentation, reference)
    assert result["dice"] > 0.85
    assert table.GetNumberOfRows() == 1
    assert {verdict for verdict, _ in logic.outcome.checks} <= {"ok", "look", "wrong", None}


def test_devices_and_pytorch_are_asked_from_the_worker(scene, logic):
    devices = logic.devices()
    assert devices[0]["id"] == "cpu" and set(devices[0]) == {"id", "name", "freeMemory"}
    messages = []
    logic.checkTorchAsync(onDone=messages.append).wait()
    assert messages[0].startswith("PyTorch ")
    assert not logic.torchIsMissing()
    logic.installTorch()
    assert os.path.isdir(logic.logFolder())
    assert logic.weightsInfo()["organs"] == ["liver"]


def test_a_batch_tells_descriptions_of_series_and_slicers_log_holds_none(scene, logic, weights, tmp_path, caplog):
    passes = [
        Pass(20 + 140 * index, evenly(12 - index, 3.0), {"SeriesInstanceUID": f"1.2.3.{index}",
                                                        "SeriesDescription": words})
        for index, words in enumerate(("Quokka venous", "Wombat arterial"))
    ]  # fmt: skip
    write_study(tmp_path / "scans", passes)
    caplog.set_level("DEBUG")
    messages = []
    where = (str(tmp_path / "scans"), str(tmp_path / "out"))
    logic.segmentFolderAsync(*where, device="cpu", weights=weights, onScan=messages.append).wait()
    assert '"Quokka venous"' in messages[0]["notes"][0] and '"Wombat arterial"' in messages[0]["notes"][0]
    logged = caplog.text + "".join(path.read_text() for path in Path(logic.logFolder()).glob("*.log"))
    assert "a scan of the folder is done" in logged
    assert not any(word in logged for word in ("Quokka", "Wombat", "venous"))


def test_torch_is_not_imported_into_slicer(weights):
    """In a separate process, since these tests import torch themselves."""
    import subprocess
    import sys

    script = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[2] / 'LVNetSegmentation')!r}]\n"
        "import conftest\n"
        "from lvnet.worker.client.service import Service\nfrom LVNetSegmentationLib.segmenting import SegmentJob\n"
        "import numpy as np, slicer\n"
        "slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)\n"
        "node = slicer.util.addVolumeFromArray(np.arange(32000, dtype=np.int16).reshape(20, 40, 40))\n"
        f"settings = dict(device='cpu', weights={weights!r}, overlap=None, postprocess=True, threads=1)\n"
        "service = Service()\nprint(SegmentJob(service, node, None, settings).start().wait()[0].GetName())\n"
        "service.shutdown()\nassert 'torch' not in sys.modules\n"
    )
    start = "from conftest import start_slicer_core; start_slicer_core()\n"
    done = subprocess.run(
        [sys.executable, "-c", script.replace("import conftest\n", start)],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_module_describes_itself(module):
    parent = types.SimpleNamespace()
    module.LVNetSegmentation(parent)
    assert parent.title == "LV-Net Segmentation"
    assert parent.categories == ["Segmentation"]
    assert module.HOMEPAGE in parent.helpText
