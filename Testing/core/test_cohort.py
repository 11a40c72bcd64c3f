"""Many scans and several processes: each scan is processed once, no result is lost, one table lists all."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from lvnet.batch import Job
from lvnet.cli import main
from lvnet.cohort import Ledger, Shard, State
from lvnet.cohort.page import page_of
from lvnet.cohort.rows import by_doubt, row_of, status_of, table_of
from lvnet.errors import ConfigurationError
from lvnet.image_io import read_image, read_labels, write_image, write_labels
from lvnet.inputs import Scan
from lvnet.phantom import make_phantom
from lvnet.recipe import Architecture, Preprocessing, Recipe
from lvnet.volume import Volume

OPTIONS = {"overlap": 0.5}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network that takes almost no time."""
    import torch
    from lvnet.checkpoint import save_checkpoint
    from lvnet.network import LVNet

    torch.manual_seed(1)
    architecture = Architecture(widths=(16, 16))
    recipe = Recipe(
        name="tiny",
        architecture=architecture,
        preprocessing=Preprocessing(in_plane_size=(32, 32), slab_depth=4, in_plane_spacing=(8.0, 8.0)),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(path, LVNet(architecture).state_dict(), recipe)
    return path


def scan_of(seed, shape=(8, 24, 24)):
    noise = np.random.default_rng(seed).normal(0, 200, shape)
    return Volume(noise.astype(np.int16), (5.0, 8.0, 8.0), (0.0, 0.0, 0.0), name=f"case{seed}")


@pytest.fixture
def scans(tmp_path):
    """A folder of six small scans."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(6):
        write_image(scan_of(seed), folder / f"case{seed}.nii.gz")
    return folder


def run(scans, out, weights, *more):
    return main(["segment", str(scans), "-o", str(out), "--weights", str(weights), "--quiet", *more])


def test_maps_of_several_scans_go_into_a_folder_and_are_made_up_for(scans, tmp_path, weights, capsys):
    out, maps = tmp_path / "out", tmp_path / "maps"
    assert run(scans, out, weights, "--format", ".seg.nrrd", "--resume") == 0
    first = {file.name: file.stat().st_mtime_ns for file in out.glob("*.seg.nrrd")}
    flags = ("--format", ".seg.nrrd", "--resume", "--probabilities", str(maps), "--uncertainty", str(out))
    assert run(scans, out, weights, *flags) == 0
    assert sorted(path.name for path in maps.iterdir()) == [f"case{seed}_probabilities.nrrd" for seed in range(6)]
    assert sorted(path.name for path in out.glob("*_un*")) == [f"case{seed}_uncertainty.nrrd" for seed in range(6)]
    times = {file.name: file.stat().st_mtime_ns for file in out.glob("*.seg.nrrd")}
    assert all(times[name] > first[name] for name in first), "without its maps a scan is not done"
    (maps / "case3_probabilities.nrrd").unlink()
    assert run(scans, out, weights, *flags) == 0
    again = {file.name: file.stat().st_mtime_ns for file in out.glob("*.seg.nrrd")}
    assert {name for name in again if again[name] != times[name]} == {"case3.seg.nrrd"}
    soft = read_image(maps / "case3_probabilities.nrrd")
    organ = read_labels(out / "case3.seg.nrrd").array == 1
    assert 0 <= soft.array.min() < soft.array[organ].mean() <= 1 and soft.array[organ].mean() > 0.5
    # The results are named after their scans, so they can be evaluated as predictions.
    references = tmp_path / "references"
    references.mkdir()
    for seed in range(6):
        write_labels(read_labels(out / f"case{seed}.seg.nrrd"), references / f"case{seed}.nii.gz", Recipe().classes)
    assert main(["evaluate", str(maps), str(references), "--threshold", "0.5"]) == 0
    printed = capsys.readouterr().out
    assert all(f"case{seed}" in printed for seed in range(6))


def rows_in(out):
    with open(out / "cohort.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def times_in(out):
    return {file.name: file.stat().st_mtime_ns for file in out.glob("*.nii.gz")}


def test_what_is_done_is_skipped_and_what_has_changed_is_done_again(scans, tmp_path, weights):
    out = tmp_path / "out"
    assert run(scans, out, weights, "--resume") == 0
    first = times_in(out)
    assert len(first) == 6
    assert run(scans, out, weights, "--resume") == 0
    assert times_in(out) == first

    write_image(scan_of(99), scans / "case1.nii.gz")
    (out / "case2.nii.gz").write_bytes((out / "case2.nii.gz").read_bytes()[:-20])
    (out / "case3.nii.gz").unlink()
    assert run(scans, out, weights, "--resume") == 0
    second = times_in(out)
    assert {name for name in first if second[name] != first[name]} == {f"case{i}.nii.gz" for i in (1, 2, 3)}
    assert len(rows_in(out)) == 6


def test_scans_that_were_only_copied_or_touched_are_not_done_again(scans, tmp_path, weights):
    out = tmp_path / "out"
    run(scans, out, weights, "--resume")
    first = times_in(out)
    for file in [*scans.iterdir(), *out.glob("*.nii.gz")]:
        os.utime(file, (1e9, 1e9))
    first = times_in(out)
    assert run(scans, out, weights, "--resume") == 0
    assert times_in(out) == first


def test_other_weights_or_options_do_everything_again(scans, tmp_path, weights):
    out = tmp_path / "out"
    run(scans, out, weights, "--resume")
    first = times_in(out)
    run(scans, out, weights, "--resume", "--no-postprocessing")
    second = times_in(out)
    assert not set(first.items()) & set(second.items())
    other = tmp_path / "other.safetensors"
    from lvnet.checkpoint import load_checkpoint, save_checkpoint
    from lvnet.network import LVNet

    recipe = load_checkpoint(weights).recipe
    save_checkpoint(other, LVNet(recipe.architecture).state_dict(), recipe)
    run(scans, out, other, "--resume", "--no-postprocessing")
    assert not set(times_in(out).items()) & set(second.items())


def test_a_second_run_does_not_even_load_the_network(scans, tmp_path, weights, monkeypatch):
    out = tmp_path / "out"
    run(scans, out, weights, "--resume")
    from lvnet.pipeline import scan

    def refuse(*_a, **_k):
        raise AssertionError("loaded")

    monkeypatch.setattr(scan, "load_model", refuse)
    assert run(scans, out, weights, "--resume") == 0


def test_a_second_run_and_a_list_need_no_pytorch(scans, tmp_path, weights):
    """Importing PyTorch would take most of the time of a command that has nothing to compute."""
    out = tmp_path / "out"
    run(scans, out, weights, "--resume")
    command = ["segment", str(scans), "-o", str(out), "--weights", str(weights), "--quiet"]
    for more in ("--resume", "--list"):
        program = (
            f"import sys; sys.modules['torch'] = None\nfrom lvnet.cli import main\nsys.exit(main({[*command, more]!r}))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_whether_results_would_overwrite_scans_is_asked_once_a_scan(tmp_path, monkeypatch):
    """Not once for every pair of scan and result, which takes minutes for thousands of scans."""
    from lvnet.batch import refuse_overwriting

    folders = [tmp_path / f"case{number}" for number in range(200)]
    for folder in folders:
        folder.mkdir()
    asked = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda *given, **more: (asked.append(given), stat(*given, **more))[1])
    refuse_overwriting(folders, [tmp_path / "out" / f"case{number}.nii.gz" for number in range(200)])
    assert len(asked) < 5 * 200


def test_what_failed_is_tried_again_on_request_only(scans, tmp_path, weights, capsys):
    out = tmp_path / "out"
    (scans / "bad.nii.gz").write_bytes(b"nothing")
    assert run(scans, out, weights, "--resume") == 2
    assert "bad.nii.gz" in capsys.readouterr().err
    assert run(scans, out, weights, "--resume") == 2
    assert "bad.nii.gz" not in capsys.readouterr().err
    assert run(scans, out, weights, "--retry-failed") == 2
    assert "bad.nii.gz" in capsys.readouterr().err
    assert [row["name"] for row in rows_in(out) if row["error"]] == ["bad.nii.gz"]
    # A repaired file counts as a new input, so it is processed again automatically.
    write_image(scan_of(7), scans / "bad.nii.gz")
    assert run(scans, out, weights, "--resume") == 0
    assert not any(row["error"] for row in rows_in(out))


def test_shards_share_all_scans_out_and_their_table_is_one(scans, tmp_path, weights):
    out = tmp_path / "out"
    for number in (1, 2, 3, 4):
        assert run(scans, out, weights, "--shard", f"{number}/4") == 0
    assert [row["name"] for row in rows_in(out)] == [f"case{i}.nii.gz" for i in range(6)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_scan_belongs_to_exactly_one_shard(count):
    items = list(range(20))
    shares = [Shard(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(item for share in shares for item in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/4", ""])
def test_a_shard_that_makes_no_sense_is_refused(text):
    with pytest.raises(ConfigurationError, match="K/N"):
        Shard.parse(text)


@pytest.mark.parametrize("more", [["--shard", "3/2"], ["--jobs", "0"], ["--jobs", "many"], ["--jobs", "-1"]])
def test_wrong_options_are_one_line(scans, tmp_path, weights, capsys, more):
    assert run(scans, tmp_path / "out", weights, *more) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_records_need_a_folder_of_results(scans, tmp_path, weights, capsys):
    assert run(scans / "case0.nii.gz", tmp_path / "one.nii.gz", weights, "--resume") == 2
    assert "output folder" in capsys.readouterr().err


def test_several_processes_do_every_scan_once_and_give_the_same_results(scans, tmp_path, weights):
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert run(scans, alone, weights, "--resume") == 0
    assert run(scans, together, weights, "--jobs", "2") == 0
    assert len(rows_in(together)) == 6
    for file in alone.glob("*.nii.gz"):
        assert (read_labels(file).array == read_labels(together / file.name).array).all()


def test_the_processes_end_with_the_one_that_started_them(scans, tmp_path, weights):
    command = [sys.executable, "-m", "lvnet", "segment", str(scans), "-o", str(tmp_path / "out")]
    command += ["--weights", str(weights), "--member", "--resume", "--quiet", "--jobs", "1"]
    member = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, "LVNET_TEST": "1"})
    member.stdin.close()
    assert member.wait(60) == 1


@pytest.fixture
def job(tmp_path):
    write_image(scan_of(1), tmp_path / "case.nii.gz")
    (tmp_path / "out").mkdir()
    return Job(Scan(tmp_path / "case.nii.gz", "case"), tmp_path / "out" / "case.nii.gz")


RESULT = {
    "input": "case.nii.gz", "output": "out/case.nii.gz", "volumes_ml": {"liver": 1500.0}, "notes": [],
    "input_checks": [], "checks": [], "expected_dice": None, "seconds": 1.0, "device": "cpu", "weights_sha256": "0",
}  # fmt: skip


def test_a_scan_that_another_process_works_on_is_left_to_it(job):
    one, other = (Ledger(job.target.parent, "0", OPTIONS) for _ in range(2))
    with one.claimed(job) as first:
        assert first
        with other.claimed(job) as second:
            assert not second
    with other.claimed(job) as third:
        assert third


def test_a_killed_process_leaves_its_scan_to_others(job):
    program = f"""
import sys, time
from pathlib import Path
from lvnet.batch import Job
from lvnet.cohort import Ledger
from lvnet.inputs import Scan
job = Job(Scan(Path({str(job.scan.path)!r}), "case"), Path({str(job.target)!r}))
with Ledger(job.target.parent, "0", {OPTIONS!r}).claimed(job) as ours:
    print(ours, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "True"
    ledger = Ledger(job.target.parent, "0", OPTIONS)
    with ledger.claimed(job) as ours:
        assert not ours
    process.kill()
    process.wait()
    with ledger.claimed(job) as ours:
        assert ours


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"format": 0}', b"\xff\xfe", b'{"format": 1, "result": 3}'])
def test_a_record_that_is_damaged_counts_as_none(job, text):
    ledger = Ledger(job.target.parent, "0", OPTIONS)
    job.target.write_bytes(b"result")
    ledger.write(job, RESULT)
    assert ledger.state(job) is State.DONE
    (record,) = (job.target.parent / "cohort" / "records").iterdir()
    record.write_bytes(text)
    assert ledger.state(job) is State.NEW
    assert ledger.results_so_far() == []


def test_tables_of_processes_that_end_together_hold_everything(job):
    """The process that writes last includes everything that was recorded before any of them wrote."""
    ledger = Ledger(job.target.parent, "0", OPTIONS)
    seen = []

    def work(number):
        mine = Job(job.scan, job.target.with_name(f"case{number}.nii.gz"))
        mine.target.write_bytes(b"x")
        ledger.write(mine, RESULT)
        with Ledger(job.target.parent, "0", OPTIONS).tables():
            found = len(ledger.results_so_far())
            time.sleep(0.02)
            seen.append(found)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == sorted(seen)
    assert seen[-1] == 8


def checked(name, verdict="ok", dice=0.95, **more):
    check = {"name": "liver volume", "verdict": verdict, "sentence": f"{name} says {verdict}", "value": 1.0, "unit": ""}
    expected = {"liver": {"dice": dice, "low": dice - 0.02, "high": dice + 0.02}}
    return {**RESULT, "name": name, "checks": [check], "expected_dice": expected, **more}


def test_the_doubtful_come_first():
    results = [
        checked("fine"), checked("lower", dice=0.91), checked("look", "look"), checked("wrong", "wrong"),
        {"name": "failed", "input": "x", "output": None, "error": "damaged"},
        checked("input", input_checks=[{"severity": "warning", "sentence": "this looks like a chest"}]),
    ]  # fmt: skip
    assert [r["name"] for r in by_doubt(results)] == ["failed", "wrong", "input", "look", "lower", "fine"]
    assert [status_of(r) for r in by_doubt(results)] == ["failed", "wrong", "look", "look", "ok", "ok"]


def test_the_table_tells_volume_expected_dice_and_doubts():
    brightness = {"name": "liver brightness", "verdict": "ok", "sentence": "x", "value": 71.0, "unit": "HU"}
    result = checked("a", "look")
    row = row_of({**result, "checks": [*result["checks"], brightness]})
    assert row["liver_ml"] == 1500.0
    assert row["liver_expected_dice"] == 0.95
    assert row["liver_brightness_hu"] == 71.0
    assert row["doubts"] == "a says look"
    rows = list(csv.DictReader(table_of([result, {"name": "b", "input": "x", "error": "no"}]).decode().splitlines()))
    assert [r["status"] for r in rows] == ["look", "failed"]
    assert rows[1]["liver_ml"] == ""


def test_the_page_shows_doubtful_results_with_their_picture_and_runs_nothing(tmp_path):
    def picture_of(name):
        return tmp_path / f"{name}.png"

    picture_of("wrong").write_bytes(b"\x89PNG")
    nasty = checked("<script>alert(1)</script>", "wrong")
    page = page_of([checked("fine"), checked("wrong", "wrong"), nasty], "Cohort <x>", ["a.txt: no scan"], picture_of)
    text = page.decode()
    assert "<script" not in text
    assert "default-src 'none'" in text
    assert text.count("data:image/png") == 1
    assert text.index("probably wrong") < text.index("All scans")
    assert "a.txt: no scan" in text


def test_the_list_shows_the_choice_and_writes_nothing(scans, tmp_path, weights, capsys):
    (scans / "notes.txt").write_text("x")
    assert run(scans, tmp_path / "out", weights, "--list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(entry["output"]).name for entry in found[:6]] == [f"case{i}.nii.gz" for i in range(6)]
    assert "left_out" in found[6]
    assert not any((tmp_path / "out").glob("*"))


def test_a_picture_of_each_result_is_kept(scans, tmp_path, weights):
    out = tmp_path / "out"
    run(scans, out, weights, "--resume")
    pictures = list((out / "cohort" / "pictures").iterdir())
    assert len(pictures) == 6
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures)


@pytest.mark.slow
def test_five_hundred_scans_over_four_shards_two_of_them_killed_at_random(tmp_path):
    """With the bundled weights: 500 results and a table of 500 rows, without duplicates or losses."""
    random = np.random.default_rng(5)
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    scan = make_phantom(seed=3)[0]
    # A coarse part of the liver: half a second of work.
    middle = tuple(slice(n // 4, 3 * n // 4, 2) for n in scan.shape)
    small = Volume(scan.array[middle], tuple(2 * mm for mm in scan.spacing), scan.origin, scan.direction)
    for number in range(500):
        noise = random.normal(0, 5, small.shape).astype(np.int16)
        write_image(small.with_array(small.array + noise), scans / f"case{number:03}.nii.gz")

    def start(number):
        command = [sys.executable, "-m", "lvnet", "segment", str(scans), "-o", str(out), "--quiet", "--threads", "1"]
        return subprocess.Popen([*command, "--shard", f"{number}/4"])

    began = time.monotonic()
    shards = {number: start(number) for number in (1, 2, 3, 4)}
    for number in (2, 3):
        time.sleep(float(random.uniform(20, 60)))
        shards[number].send_signal(signal.SIGKILL)
        shards[number].wait()
        shards[number] = start(number)
    assert [process.wait() for process in shards.values()] == [0, 0, 0, 0]
    first = time.monotonic() - began
    assert [row["name"] for row in rows_in(out)] == [f"case{n:03}.nii.gz" for n in range(500)]
    assert not any(row["error"] for row in rows_in(out))
    before = times_in(out)
    assert len(before) == 500
    assert not [file for file in out.iterdir() if file.name.startswith(".lvnet")]

    began = time.monotonic()
    again = [start(number) for number in (1, 2, 3, 4)]
    assert [process.wait() for process in again] == [0, 0, 0, 0]
    second = time.monotonic() - began
    print(f"first run {first:.0f} s, second {second:.0f} s, {second / first:.1%}")
    assert second < 0.05 * first
    assert times_in(out) == before
