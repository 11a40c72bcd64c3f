"""The command line interface: files, exit codes, and one-line messages for user errors."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from lvnet.checkpoint import save_checkpoint
from lvnet.cli import main
from lvnet.cli.terminal import ProgressBar
from lvnet.image_io import read_image, read_labels, write_image, write_labels
from lvnet.network import LVNet
from lvnet.recipe import LIVER, Architecture, Preprocessing, Recipe
from lvnet.volume import Volume

ARCHITECTURE = Architecture(widths=(4, 4, 6, 8, 8), expansion=2, kernel_size=3)
SETTINGS = Preprocessing(window=(-120.0, 240.0), mean=0.0, std=100.0, in_plane_spacing=(4.0, 4.0), slice_spacing=4.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny real LV-Net, trained to label bright voxels as the organ."""
    torch.manual_seed(1)
    # Threads cost more than they gain on slabs this small.
    torch.set_num_threads(1)
    network = LVNet(ARCHITECTURE)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        x = torch.randn(2, 1, 16, 16, 16)
        target = (x[:, 0] > 1).long()
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x), target).backward()
        optimiser.step()
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, network.state_dict(), Recipe(ARCHITECTURE, SETTINGS, name="bright"))
    return str(path)


@pytest.fixture
def scan(tmp_path):
    """A small scan with a bright box."""
    array = np.full((20, 48, 40), -1000, np.int16)
    array[:, 6:42, 6:34] = 0
    array[6:14, 14:34, 12:28] = 200
    path = tmp_path / "ct scan é.nii.gz"
    write_image(Volume(array, (4.0, 2.0, 2.0), origin=(5.0, 6.0, 7.0)), path)
    return path


def run(*arguments):
    return main([str(a) for a in arguments])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"])
def test_a_scan_goes_in_and_a_label_map_on_its_grid_comes_out(scan, weights, tmp_path, suffix, capsys):
    target = tmp_path / f"liver{suffix}"
    assert run("segment", scan, "-o", target, "--weights", weights, "--device", "cpu") == 0
    made, given = sitk.ReadImage(str(target)), sitk.ReadImage(str(scan))
    assert made.GetPixelID() == sitk.sitkUInt8
    assert (made.GetSize(), made.GetSpacing(), made.GetOrigin(), made.GetDirection()) == (
        given.GetSize(), given.GetSpacing(), given.GetOrigin(), given.GetDirection(),
    )  # fmt: skip
    assert 0 < sitk.GetArrayFromImage(made).sum() < 20 * 48 * 40 / 2
    said = capsys.readouterr().err
    assert "ml" in said
    # Every check is printed as a line with its verdict.
    assert len(re.findall(r"^lvnet: (ok|look|wrong): the ", said, re.M)) >= 5


def test_quiet_says_nothing_and_json_only_json(scan, weights, tmp_path, capsys):
    target = tmp_path / "a.nii.gz"
    assert run("segment", scan, "-o", target, "--weights", weights, "--quiet", "--device", "cpu") == 0
    assert capsys.readouterr() == ("", "")
    soft = tmp_path / "p.nrrd"
    arguments = (
        "--json",
        "--quiet",
        "--device",
        "cpu",
        "--probabilities",
        soft,
        "--overlap",
        0.25,
        "--no-postprocessing",
    )
    assert run("segment", scan, "-o", target, "--weights", weights, *arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["volumes_ml"]["liver"] > 0
    assert (result["overlap"], result["postprocessing"], result["size"]) == (0.25, False, [40, 48, 20])
    probabilities = read_image(soft)
    assert np.array_equal(probabilities.array > 0.5, read_labels(target).array == 1)


def test_the_uncertainty_is_one_where_both_answers_are_as_likely_and_none_where_the_network_is_sure(
    scan, weights, tmp_path
):
    target, soft, unsure = (tmp_path / name for name in ("a.nii.gz", "p.nrrd", "u.nrrd"))
    arguments = ("--quiet", "--device", "cpu", "--probabilities", soft, "--uncertainty", unsure)
    assert run("segment", scan, "-o", target, "--weights", weights, *arguments) == 0
    p, u = read_image(soft), read_image(unsure)
    assert p.same_grid(u)
    assert u.array.min() >= 0 and u.array.max() <= 1
    sure, torn = (p.array < 0.001) | (p.array > 0.999), np.abs(p.array - 0.5) < 0.1
    assert torn.any()
    assert u.array[torn].min() > 0.97
    assert u.array[sure].max(initial=0) < 0.02


def test_several_scans_go_to_a_folder_and_one_that_fails_does_not_stop_the_rest(scan, weights, tmp_path, capsys):
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"nothing")
    out = tmp_path / "out"
    code = run("segment", broken, scan, "-o", out, "--weights", weights, "--device", "cpu", "--json")
    captured = capsys.readouterr()
    results = json.loads(captured.out)
    assert code == 2
    assert [("error" in r) for r in results] == [True, False]
    assert [p.name for p in out.iterdir()] == ["ct scan é.nii.gz"]
    assert "1 of 2 scans segmented" in captured.err
    assert "lvnet: ok: " not in captured.err


def test_a_folder_of_scans_is_batch_work(scan, weights, tmp_path):
    out = tmp_path / "out"
    assert (
        run(
            "segment",
            scan.parent,
            "-o",
            out,
            "--weights",
            weights,
            "--device",
            "cpu",
            "--format",
            ".seg.nrrd",
            "--quiet",
        )
        == 0
    )
    assert [p.name for p in out.iterdir()] == ["ct scan é.seg.nrrd"]


def test_scans_of_one_name_take_their_folders_name(scan, weights, tmp_path):
    inputs = []
    for case in ("one", "two"):
        (tmp_path / case).mkdir()
        inputs.append(tmp_path / case / "ct.nii.gz")
        inputs[-1].write_bytes(scan.read_bytes())
    out = tmp_path / "out"
    assert run("segment", *inputs, "-o", out, "--weights", weights, "--device", "cpu", "--quiet") == 0
    assert sorted(p.name for p in out.iterdir()) == ["one_ct.nii.gz", "two_ct.nii.gz"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "missing.nii.gz", "-o", "out.nii.gz"),
        ("segment", "{scan}", "-o", "out.xyz"),
        ("segment", "{scan}", "-o", "no/such/folder/out.nii.gz"),
        ("segment", "{scan}", "-o", "out.nii.gz", "--weights", "none.safetensors"),
        ("segment", "{scan}", "-o", "out.nii.gz", "--weights", "{scan}"),
        ("segment", "{scan}", "-o", "out.nii.gz", "--weights", "{weights}", "--device", "gpu"),
        ("segment", "{scan}", "-o", "out.nii.gz", "--weights", "{weights}", "--overlap", "2"),
        ("segment", "{scan}", "{scan}", "-o", "out.nii.gz"),
        ("segment", "{scan}", "{scan}", "-o", "folder"),
        ("segment", "{scan}", "{scan}", "-o", "folder", "--probabilities", "p.nrrd"),
        ("segment", "{scan}", "{scan}", "-o", "folder", "--uncertainty", "u.nrrd"),
        ("segment", "{scan}", "-o", "out.nrrd", "--probabilities", "{empty}"),
        ("segment", "{scan}", "-o", "out.nrrd", "--probabilities", "p.nrrd", "--uncertainty", "p.nrrd"),
        ("segment", "{scan}", "-o", "folder", "--format", ".png"),
        ("segment", "{empty}", "-o", "folder"),
        ("segment", "{scan}", "-o", "out.nii.gz", "--probabilities", "p.xyz"),
        ("evaluate", "{scan}", "missing.nii.gz"),
        ("evaluate", "{scan}", "x" * 300 + ".nii.gz"),
        ("evaluate", "{scan}", "{empty}"),
        ("info", "--weights", "none.safetensors"),
        ("phantom", "out", "--count", "0"),
        ("phantom", "out", "--seed", "-1"),
        ("phantom", "{scan}/folder"),
    ],
)
def test_a_users_error_is_one_line_and_exit_code_2(arguments, scan, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {"scan": scan, "weights": weights, "empty": tmp_path / "empty"}
    before = sorted(p.name for p in tmp_path.iterdir())
    assert run(*(a.format(**places) for a in arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if "computing on" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("lvnet: ")
    assert "Traceback" not in captured.err
    # No partial files: at most an empty output folder.
    assert [p.name for p in tmp_path.rglob("*") if p.is_file() and p.name not in before] == []


@pytest.mark.parametrize(
    "arguments", [[], ["segment"], ["nonsense"], ["segment", "x", "-o", "y.nii.gz", "--threads", "many"]]
)
def test_wrong_usage_says_how(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code not in (0, None)


def test_a_bug_keeps_its_traceback(scan, weights, tmp_path, monkeypatch):
    monkeypatch.setattr("lvnet.pipeline.scan.run", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("segment", scan, "-o", tmp_path / "a.nii.gz", "--weights", weights, "--device", "cpu")


def test_evaluation_prints_a_table_and_writes_json_and_csv(tmp_path, capsys):
    mask = np.zeros((8, 20, 20), np.uint8)
    mask[2:6, 5:15, 5:15] = 1
    shifted = np.roll(mask, 1, axis=2)
    for name, array in (("p.nii.gz", shifted), ("r.nrrd", mask)):
        write_labels(Volume(array, (2.0, 1.0, 1.0)), tmp_path / name, [LIVER])
    files = ("evaluate", tmp_path / "p.nii.gz", tmp_path / "r.nrrd")
    assert run(*files, "--json", tmp_path / "m.json", "--csv", tmp_path / "m.csv") == 0
    assert "0.9000" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["dice"] == pytest.approx(0.9)
    assert {"dice", "voe", "rvd", "assd_mm", "mssd_mm", "reference_ml", "prediction_ml", "preset"} <= set(metrics)
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 2
    assert run(*files, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out) == metrics


@pytest.mark.parametrize("option", ["--csv", "--json"])
@pytest.mark.parametrize("place", ["p.seg.nrrd", "r/a.nii.gz", "link.csv"])
def test_no_table_takes_the_place_of_what_is_compared(option, place, tmp_path, capsys):
    mask = np.zeros((4, 9, 9), np.uint8)
    mask[1:3, 2:6, 2:6] = 1
    volume = Volume(mask, (1.0, 1.0, 1.0))
    for name in ("p.seg.nrrd", "r.nii.gz", "p/a.seg.nrrd", "r/a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_labels(volume, tmp_path / name, [LIVER])
    (tmp_path / "link.csv").symlink_to(tmp_path / "r.nii.gz")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    pair = ("p", "r") if "/" in place else ("p.seg.nrrd", "r.nii.gz")
    assert run("evaluate", *(tmp_path / name for name in pair), option, tmp_path / place) == 2
    assert "is read for the comparison, which would be overwritten" in capsys.readouterr().err
    assert run("evaluate", *(tmp_path / name for name in pair), "--csv", tmp_path / "x", "--json", tmp_path / "x") == 2
    assert "two results would both be written" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_folders_are_evaluated_case_by_case(tmp_path, capsys):
    for folder in ("p", "r"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            mask = np.zeros((4, 9, 9), np.uint8)
            mask[1:3, 2:6, 2:6] = 1
            write_labels(Volume(mask), tmp_path / folder / f"{name}.nii.gz", [LIVER])
    write_labels(Volume(np.ones((4, 9, 9), np.uint8)), tmp_path / "p" / "alone.nii.gz", [LIVER])
    assert run("evaluate", tmp_path / "p", tmp_path / "r") == 0
    captured = capsys.readouterr()
    assert captured.out.count("1.0000") >= 2
    assert "alone" in captured.err


def test_info_says_what_the_weights_are(weights, capsys):
    assert run("info", "--weights", weights) == 0
    assert "liver" in capsys.readouterr().out
    assert run("info", "--weights", weights, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights"]["parameters"] == sum(p.numel() for p in LVNet(ARCHITECTURE).parameters())
    assert facts["weights"]["macs"] > 0
    assert facts["devices"][0]["name"] == "cpu"


def test_a_phantom_is_a_scan_with_its_liver(tmp_path, capsys, monkeypatch):
    from lvnet import phantom

    small = phantom.make_phantom
    monkeypatch.setattr("lvnet.cli.phantom.make_phantom", lambda seed, **k: small(seed, size=(16, 48, 48), **k))
    assert run("phantom", tmp_path / "one", "--seed", 3) == 0
    scan, liver = read_image(tmp_path / "one" / "ct.nii.gz"), read_labels(tmp_path / "one" / "liver.nii.gz")
    assert scan.same_grid(liver)
    assert run("phantom", tmp_path / "many", "--seed", 3, "--count", 2, "--quiet") == 0
    assert sorted(p.name for p in (tmp_path / "many").iterdir()) == ["phantom0003", "phantom0004"]


def test_the_bar_is_drawn_on_a_terminal_and_nowhere_else(capsys):
    with ProgressBar("x ", shown=True) as bar:
        bar(0.5, "half")
    shown = capsys.readouterr().err
    assert "50%" in shown and "half" in shown
    with ProgressBar() as bar:
        bar(0.5, "half")
    assert capsys.readouterr().err == ""


#: Runs a command and prints what Python will search for garbage when the process ends.
SEARCHED = """
import gc, json
from lvnet.cli import main
assert main() == 0
print(json.dumps({"exempt": gc.get_freeze_count(), "searched": len(gc.get_objects())}))
"""


@pytest.mark.parametrize("name", ["segment", "info"])
def test_a_start_and_an_end_lose_no_time_with_a_search_for_garbage_in_pytorch(weights, scan, tmp_path, name):
    more = {"segment": [scan, "-o", tmp_path / "liver.nrrd", "--device", "cpu", "--quiet"], "info": []}[name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    arguments = [sys.executable, "-c", SEARCHED, name, *map(str, more), "--weights", weights]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["exempt"] > 100_000, "PyTorch alone has more objects"
    assert found["searched"] < found["exempt"] / 10


def test_one_scan_loads_neither_the_evaluation_nor_the_page_of_a_cohort(weights, scan, tmp_path):
    program = "import sys; from lvnet.cli import main; assert main() == 0; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    given = ["segment", str(scan), "-o", str(tmp_path / "liver.nrrd"), "--weights", weights, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", program, *given], env=environment, capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert "lvnet.inference" in modules
    assert not {"lvnet.evaluation", "lvnet.metrics", "lvnet.report", "lvnet.cohort.page"} & modules


def heed_interrupts():
    """Restores SIGINT: children of a background process, such as a CI job, ignore Ctrl+C by default."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(*arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, "-m", "lvnet", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment,
        preexec_fn=None if sys.platform == "win32" else heed_interrupts,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_130_and_leaves_nothing(weights, tmp_path, number):
    scan, out = tmp_path / "long.nrrd", tmp_path / "out"
    out.mkdir()
    write_image(Volume(np.zeros((700, 256, 256), np.int16), (4.0, 4.0, 4.0)), scan)
    process = command(
        "segment", scan, "-o", out / "liver.nii.gz", "--weights", weights, "--device", "cpu", "--overlap", 0.9
    )
    for line in process.stderr:
        if "computing on" in line:
            break
    time.sleep(1.0)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert list(out.iterdir()) == []


def test_the_program_runs_as_a_module_and_prints_its_version():
    process = command("--version")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.startswith("lvnet ")


def test_asking_for_threads_is_respected(scan, weights, tmp_path):
    process = command(
        "segment", scan, "-o", tmp_path / "a.nii.gz", "--weights", weights, "--threads", 1, "--json", "--device", "cpu"
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert Path(json.loads(out)["output"]).exists()


def test_a_scan_that_is_no_ct_is_segmented_with_a_warning(tmp_path, weights, capsys):
    array = np.random.default_rng(1).integers(0, 700, (20, 100, 100)).astype(np.int16)
    write_image(Volume(array, (4.0, 3.0, 3.0)), tmp_path / "mr.nrrd")
    arguments = ["segment", tmp_path / "mr.nrrd", "-o", tmp_path / "a.nrrd", "--weights", weights, "--device", "cpu"]
    assert run(*arguments, "--json") == 0
    captured = capsys.readouterr()
    assert "lvnet: warning: mr.nrrd: no value is below zero" in captured.err
    checks = json.loads(captured.out)["input_checks"]
    assert {"severity", "sentence"} == set(checks[0]) and checks[0]["severity"] == "warning"
    assert run(*arguments, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_a_windowed_ct_has_a_note_and_no_warning_about_its_values(tmp_path, weights, capsys):
    array = np.full((30, 100, 100), -160, np.int16)
    array[:, 10:90, 5:95] = np.random.default_rng(1).normal(55, 15, (30, 80, 90)).round()
    write_image(Volume(array, (4.0, 3.0, 3.0)), tmp_path / "ct.nrrd")
    assert run("segment", tmp_path / "ct.nrrd", "-o", tmp_path / "a.nrrd", "--weights", weights, "--device", "cpu") == 0
    error = capsys.readouterr().err
    assert "lvnet: note: values below -160 HU were cut off" in error
    assert "warning" not in error
