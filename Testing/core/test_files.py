"""Files are written completely or not at all, and the next process removes what killed ones leave behind."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from lvnet import files
from lvnet.files import passing_folder, remove_stale, whole_file, write_whole
from lvnet.image_io import check_output_path

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def killed(folder: Path, body: str) -> None:
    """A process that is killed while it runs these lines."""
    script = f"import os, signal, sys\nfrom lvnet.files import *\nfolder = sys.argv[1]\n{body}"
    environment = {**os.environ, "PYTHONPATH": str(MODULE)}
    done = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


HALF_A_FILE = """
with whole_file(folder + "/a.bin") as file:
    file.write(b"half"); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
"""
HALF_A_FOLDER = """
with passing_folder(folder) as made:
    (made / "a.bin").write_bytes(b"half"); os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_once_it_is_complete(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old" and len(names(tmp_path)) == 2
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.bin"]


def test_whatever_goes_wrong_leaves_the_old_file_alone(tmp_path):
    write_whole(tmp_path / "a.bin", b"old")

    def fill_the_disk():
        with whole_file(tmp_path / "a.bin") as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert (tmp_path / "a.bin").read_bytes() == b"old" and names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("body", [HALF_A_FILE, HALF_A_FOLDER])
def test_what_a_killed_process_left_is_removed_by_the_next_one_that_writes_there(tmp_path, body):
    killed(tmp_path, body)
    assert any(name.startswith(files.PREFIX) for name in names(tmp_path))
    write_whole(tmp_path / "b.bin", b"new")
    assert names(tmp_path) == ["b.bin"]


def test_a_run_removes_it_before_its_work(tmp_path):
    killed(tmp_path, HALF_A_FILE)
    check_output_path(tmp_path / "out.nii.gz", (".nii.gz",))
    assert names(tmp_path) == []


def test_what_is_being_written_is_left_alone(tmp_path):
    with whole_file(tmp_path / "a.bin") as file, passing_folder(tmp_path) as folder:
        file.write(b"half")
        (folder / "c.bin").write_bytes(b"half")
        assert remove_stale(tmp_path) == 0
        # Also by another process.
        script = "import sys; from lvnet.files import remove_stale; sys.exit(remove_stale(sys.argv[1]))"
        environment = {**os.environ, "PYTHONPATH": str(MODULE)}
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=True)
        folder.rename(tmp_path / "kept")
    assert names(tmp_path) == ["a.bin", "c.bin", "kept"]


def test_a_file_that_was_taken_for_a_stale_one_before_its_lock_is_made_anew(tmp_path, monkeypatch):
    lock, taken = files.lock, []

    def late(file):
        if not taken:
            taken.append(file.name)
            os.unlink(file.name)
        return lock(file)

    monkeypatch.setattr(files, "lock", late)
    write_whole(tmp_path / "a.bin", b"new")
    assert taken and (tmp_path / "a.bin").read_bytes() == b"new"


def test_files_of_others_are_never_touched(tmp_path):
    kept = [".lvnet-notes.txt", "lvnet-1.part", ".0123.part"]
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f"{files.PREFIX}1{files.SUFFIX}").mkdir()
    (tmp_path / "target").touch()
    (tmp_path / f"{files.PREFIX}2{files.SUFFIX}").symlink_to("target")
    before = names(tmp_path)
    assert remove_stale(tmp_path) == 0 and remove_stale(tmp_path / "none") == 0
    assert names(tmp_path) == before


def test_temporary_names_cannot_be_guessed_and_permissions_are_the_usual_ones(tmp_path):
    seen = set()
    before = os.umask(0o027)
    try:
        for _ in range(20):
            with whole_file(tmp_path / "a.bin"):
                seen.update(name for name in names(tmp_path) if name != "a.bin")
    finally:
        os.umask(before)
    assert len(seen) == 20 and all(len(name) == len(files.PREFIX) + 32 + len(files.SUFFIX) for name in seen)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640
