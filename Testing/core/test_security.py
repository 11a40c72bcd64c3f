"""Security: no network access, no code from files, no identifiers, private temporary files; see SECURITY.md."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lvnet.checkpoint import save_checkpoint
from lvnet.errors import ConfigurationError, ImageError
from lvnet.image_io import write_image, write_labels
from lvnet.network import LVNet
from lvnet.phantom import make_phantom
from lvnet.recipe import LIVER, Architecture, Preprocessing, Recipe
from lvnet.volume import Volume
from lvnet.worker.exchange import Exchange
from lvnet.worker.messages import decode, encode

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "LVNetSegmentation" / "lvnet" / "worker" / "__main__.py"
#: Installed as sitecustomize in a child process: logs operations that inference must not perform.
WATCH = """
import atexit, os, sys
log = os.open(os.environ["LVNET_WATCH"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
FORBIDDEN = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "subprocess.", "os.system", "os.exec", "os.spawn",
             "os.posix_spawn", "os.startfile", "pty.", "webbrowser.", "pickle.find_class")

def watch(event, arguments):
    if event.startswith(FORBIDDEN):
        os.write(log, f"{event} {arguments!r:.200}\\n".encode())

def sockets():
    # Of libraries that are not Python.
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:"):
            os.write(log, f"open {target}\\n".encode())

sys.addaudithook(watch)
atexit.register(sockets)
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Weights of a tiny network, a scan, its label map, and the logging sitecustomize."""
    folder = tmp_path_factory.mktemp("scene")
    settings = Preprocessing(mean=0.0, std=100.0, in_plane_spacing=(4.0, 4.0), slice_spacing=6.0)
    recipe = Recipe(Architecture(widths=(4, 6, 8), kernel_size=3, expansion=1), settings, name="tiny")
    torch.manual_seed(3)
    save_checkpoint(folder / "w.safetensors", LVNet(recipe.architecture).state_dict(), recipe)
    scan, label = make_phantom(3, size=(20, 48, 48))
    write_image(scan, folder / "ct.nii.gz")
    write_labels(label, folder / "liver.nii.gz", [LIVER])
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WATCH)
    return folder


#: Runs several command lines in one process, one after the other, each as if in its own process.
SEVERAL = """
import json, sys
from importlib import import_module

for module, arguments in json.loads(sys.argv[1]):
    try:
        code = import_module(module).main(arguments)
    except SystemExit as ended:
        code = ended.code
    print(f"\\nexit code {code}", flush=True)
"""


@pytest.fixture
def watched(scene, tmp_path):
    """Runs a Python program in a child process; returns its logged operations, its exit code and its output."""
    log = tmp_path / "watch.log"

    def run(*arguments, stdin=b""):
        path = os.pathsep.join([str(scene / "site"), str(ROOT / "LVNetSegmentation"), str(ROOT / "training")])
        variables = {**os.environ, "PYTHONPATH": path, "LVNET_WATCH": str(log), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=variables, input=stdin, capture_output=True, check=False)
        seen = log.read_text().splitlines() if log.exists() else ["the child was not watched"]
        return seen, done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")

    return run


@pytest.fixture
def watched_commands(watched):
    """Runs command lines of `lvnet` or another module in one child process; logged operations, exit codes, output."""

    def run(*commands, module="lvnet.cli"):
        told = json.dumps([[module, [str(part) for part in command]] for command in commands])
        seen, code, said = watched("-c", SEVERAL, told)
        codes = [int(number) for number in re.findall(r"^exit code (\d+)$", said, flags=re.MULTILINE)]
        assert code == 0 and len(codes) == len(commands), said
        return seen, codes, re.sub(r"^exit code \d+$", "", said, flags=re.MULTILINE)

    return run


# No network -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement", ["import socket; socket.socket()", "import os; os.system('true')",
                  "import pickle; pickle.loads(pickle.dumps(print))"],
)  # fmt: skip
def test_the_watch_sees_what_it_is_there_for(watched, statement):
    seen, code, _ = watched("-c", statement)
    assert seen and code == 0


def test_the_command_line_opens_no_socket_and_starts_no_program(scene, watched_commands, tmp_path):
    out = tmp_path / "out.nii.gz"
    seen, codes, _ = watched_commands(
        ("segment", scene / "ct.nii.gz", "-o", out, "--weights", scene / "w.safetensors"),
        (
            "evaluate",
            out,
            scene / "liver.nii.gz",
            "--report",
            tmp_path / "report.html",
            "--images",
            scene / "ct.nii.gz",
        ),
        ("info", "--json"),
    )
    assert (seen, codes) == ([], [0, 0, 0])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    # Nothing that a browser would download.
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!data:|#)|url\((?!data:|[\"']data:)|@import", page)


def test_the_worker_opens_no_socket_and_starts_no_program(scene, watched, tmp_path):
    folder = tmp_path / "lvnet-exchange-x"
    folder.mkdir()
    scan = make_phantom(3, size=(20, 48, 48))[0]
    np.save(folder / "scan.npy", scan.array)
    place = {"spacing": scan.spacing, "origin": scan.origin, "direction": scan.direction}
    request = {"do": "segment", "id": 1, "folder": str(folder), "weights": str(scene / "w.safetensors"), **place}
    lines = encode({"do": "devices", "id": 0}) + encode({**request, "device": "cpu"}) + encode({"do": "torch", "id": 2})
    # Keep stdin open until the worker ends: closing it would end the worker in the middle of its work.
    (tmp_path / "lines").write_bytes(lines)
    feeder = "import subprocess, sys, time; p = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE);"
    feeder += "p.stdin.write(open(sys.argv[1], 'rb').read()); p.stdin.flush(); sys.exit(p.wait())"
    bare = [sys.executable, "-S", "-E", "-c", feeder, str(tmp_path / "lines")]
    log = tmp_path / "watch.log"
    path = str(scene / "site")
    variables = {**os.environ, "PYTHONPATH": path, "LVNET_WATCH": str(log), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*bare, sys.executable, str(WORKER), "--idle", "2"], env=variables, capture_output=True, check=False
    )
    answers = [decode(line) for line in done.stdout.splitlines()]
    assert [a["id"] for a in answers if a["type"] == "result"] == [0, 1, 2], (answers, done.stderr)
    assert log.read_text() == ""


# No code from files ---------------------------------------------------------------------------------------------------


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch '{self.canary}'",)


@pytest.fixture
def canary(tmp_path):
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of a file was run"


def refused(answer):
    seen, codes, said = answer
    assert set(codes) == {2}, said
    assert "Traceback" not in said and len(said.split("\n\n")) - 1 <= len(codes), said
    assert not [line for line in seen if not line.startswith("subprocess.Popen ('git'")], seen


def test_the_canary_sings_where_a_pickle_is_loaded(tmp_path):
    pickle.loads(pickle.dumps(Evil(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_no_weights_file_runs_code(scene, watched_commands, tmp_path, canary):
    (tmp_path / "w.safetensors").write_bytes(pickle.dumps(Evil(canary)))
    torch.save({"network": Evil(canary)}, tmp_path / "w.pt")
    place = ("segment", scene / "ct.nii.gz", "-o", tmp_path / "o.nrrd", "--weights")
    refused(watched_commands(*((*place, tmp_path / name) for name in ("w.safetensors", "w.pt"))))
    tiny = ROOT / "training" / "configs" / "tiny.yaml"
    export = ("export", tmp_path / "w.pt", tmp_path / "o.safetensors", "--config", tiny)
    refused(watched_commands(export, module="lvnet_training.cli"))


def test_no_configuration_and_no_split_runs_code(tmp_path, canary):
    from lvnet_training.config import load_config
    from lvnet_training.splits import read_patients, read_split

    evil = tmp_path / "evil.yaml"
    evil.write_text(f"seed: !!python/object/apply:os.system [\"touch '{canary}'\"]\n")
    for read in (load_config, read_split, read_patients):
        with pytest.raises(ConfigurationError, match="cannot read") as refusal:
            read(evil)
        assert "\n" not in str(refusal.value)


def test_no_scan_handed_to_the_worker_runs_code(tmp_path, canary):
    from lvnet.worker.messages.requests import request_of
    from lvnet.worker.tasks import segment_task

    np.save(tmp_path / "scan.npy", np.array([[[Evil(canary)]]], dtype=object), allow_pickle=True)
    place = {"spacing": [1, 1, 1], "origin": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1]}
    request = request_of({"do": "segment", "folder": str(tmp_path), **place})
    with pytest.raises(ImageError, match="not handed over completely"):
        segment_task(request, lambda *_: None, lambda: False)


def test_no_name_of_a_file_and_no_text_in_a_header_reaches_a_shell(scene, watched, tmp_path, canary):
    command = f"$(touch {canary.name}); `touch {canary.name}`"
    folder = tmp_path / command
    folder.mkdir()
    data = (scene / "ct.nii.gz").read_bytes()
    (folder / "ct.nii.gz").write_bytes(data)
    place = ("segment", folder / "ct.nii.gz", "-o", folder / "out.seg.nrrd", "--weights", scene / "w.safetensors")
    assert watched("-m", "lvnet", *place)[:2] == ([], 0)


# Private temporary files, no identifiers ------------------------------------------------------------------------------


def test_temporary_folders_are_private_and_cannot_be_guessed(tmp_path):
    before = os.umask(0)
    made = [Exchange(tmp_path) for _ in range(20)]
    os.umask(before)
    try:
        assert {stat.S_IMODE(e.path.stat().st_mode) for e in made} == {0o700}
        endings = {e.path.name.rpartition("-")[2] for e in made}
        assert len(endings) == 20 and min(map(len, endings)) >= 8
    finally:
        assert all(e.remove() for e in made)


IDENTIFIERS = {
    "PatientName": "DOE^JANE", "PatientID": "4711-SECRET", "PatientBirthDate": "19700102", "AccessionNumber": "ACC-889",
    "InstitutionName": "Mercy Hospital", "ReferringPhysicianName": "HOUSE^G", "StudyDescription": "liver of Jane",
    "SeriesDescription": "series of Jane", "StudyInstanceUID": "1.2.840.99.1", "SeriesInstanceUID": "1.2.840.99.2",
    "StudyDate": "20260203",
}  # fmt: skip


@pytest.fixture
def series(tmp_path):
    """A CT series with all kinds of patient identifiers, and a short series beside it."""
    pydicom = pytest.importorskip("pydicom", reason="pydicom writes the test series")
    from pydicom.dataset import Dataset, FileMetaDataset

    scan = make_phantom(3, size=(12, 40, 40))[0]
    folder = tmp_path / "series"
    folder.mkdir()
    for index, plane in [*enumerate(scan.array), *enumerate(scan.array[:5], 100)]:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.840.99.3.{index}"
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.update({})
        for key, value in {**IDENTIFIERS, "Modality": "CT", "InstanceNumber": index + 1}.items():
            setattr(data, key, value)
        if index >= 100:
            data.SeriesInstanceUID, data.SeriesNumber, data.SeriesDescription = "1.2.840.99.2.9", 9, "chest"
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 8 * index], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [8, 8], 8
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 40, 40, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = plane.astype("<i2").tobytes()
        data["PixelData"].VR = "OW"
        data.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def test_no_identifier_of_the_patient_is_in_any_output_report_or_message(scene, watched_commands, series, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    weights = ("--weights", scene / "w.safetensors")
    damaged = tmp_path / "damaged"
    shutil.copytree(series, damaged)
    (damaged / "5.dcm").write_bytes((series / "5.dcm").read_bytes()[:-700])
    commands = [
        ("segment", series, "-o", out / name, *weights, "--json", "--probabilities", out / f"soft-{name[2:]}.nii")
        for name in ("a.nii", "a.seg.nrrd")
    ]
    files = ("--report", out / "r.html", "--csv", out / "r.csv", "--json", out / "r.json", "--images", series)
    # The last one fails.
    commands += [
        ("evaluate", out / "a.nii", out / "a.nii", *files),
        ("segment", damaged, "-o", out / "b.nii", *weights),
    ]
    seen, codes, said = watched_commands(*commands)
    assert (seen, codes) == ([], [0, 0, 0, 2]), said
    contents = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"a.nii", "a.seg.nrrd", "r.html", "r.csv", "r.json"} <= contents.keys()
    assert "was chosen from 2 scans" in said and '"chest"' in said
    for key, value in IDENTIFIERS.items():
        for words in {value, value.replace("^", " "), value.split("^")[0]}:
            assert words not in said, key
            assert [name for name, data in contents.items() if words.encode() in data] == [], key


def test_the_scan_volume_itself_holds_no_identifier(series):
    from lvnet.image_io import read_image

    volume: Volume = read_image(series)
    text = json.dumps([volume.name, volume.notes, volume.origin, volume.spacing])
    assert not [value for value in IDENTIFIERS.values() if value in text]
