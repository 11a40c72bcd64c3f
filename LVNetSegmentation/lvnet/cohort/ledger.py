"""Records of a cohort's scans: one file for each scan, beside the results.

Any number of processes, on any number of computers with a shared disk, may work on the same folder.  A
record is written, completely or not at all, after its result; a process that works on a scan holds a lock on
it, which the operating system releases when the process ends, for whatever reason.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional

from ..batch import Job
from ..errors import ImageError
from ..files import lock, remove_stale, sha256_of, write_whole
from ..image_io.names import walk_files

#: The folder of records, in the folder of results.
FOLDER = "cohort"
_FORMAT = 1


class State(enum.Enum):
    """The state of a scan in the records."""

    NEW = "new"
    DONE = "done"
    FAILED = "failed"


class Ledger:
    """The records of a folder of results.

    Args:
        results: the folder; a folder `cohort` is made in it.
        weights: SHA-256 of the weights' file.
        options: the settings that affect results, as JSON types.

    Raises:
        ImageError: the folder is not writable.
    """

    def __init__(self, results: Path, weights: str, options: Mapping[str, Any]) -> None:
        self.results = results
        self._recipe = {"weights_sha256": weights, "options": dict(options)}
        self._records, self._locks = results / FOLDER / "records", results / FOLDER / "locks"
        try:
            for folder in (self._records, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"cannot make {folder}: {error.strerror}; choose another output folder") from error
        for folder in (results, self._records):
            remove_stale(folder)

    def state(self, job: Job) -> State:
        """Whether a scan was segmented with these weights and options, and its result and maps are unchanged since."""
        record = self._read(job)
        if record is None or record.get("recipe") != self._recipe:
            return State.NEW
        if not _is_same(record.get("input"), job.scan.path, job.scan.files):
            return State.NEW
        if record["result"].get("error") is not None:
            return State.FAILED
        if not all(os.path.isfile(path) for path in job.maps.values()):
            return State.NEW
        return State.DONE if _is_same(record.get("output"), job.target, None) else State.NEW

    @contextmanager
    def claimed(self, job: Job) -> Iterator[bool]:
        """Reserves a scan for this process; False if another process has it."""
        path = self._locks / f"{job.target.name}.lock"
        file = open(path, "ab")  # noqa: SIM115 - closed below
        try:
            # Its last owner may have removed it after we opened it and before we locked it.
            ours = lock(file) and bool(os.fstat(file.fileno()).st_nlink)
            yield ours
            if ours:
                with suppress(OSError):
                    os.unlink(path)
        finally:
            file.close()

    def write(self, job: Job, result: Mapping[str, Any], picture: Optional[bytes] = None) -> None:
        """Records the outcome of a scan, after its result is written.

        Args:
            job: the scan.
            result: what `lvnet segment --json` prints for it; with `error` if it failed.
            picture: a PNG that shows the result.
        """
        failed = result.get("error") is not None
        if picture is not None:
            self.picture_of(job.target.name).parent.mkdir(exist_ok=True)
            write_whole(self.picture_of(job.target.name), picture)
        record = {
            "format": _FORMAT,
            "recipe": self._recipe,
            "input": _identity(job.scan.path, job.scan.files),
            "output": None if failed else _identity(job.target, None),
            "result": dict(result),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(self._place(job.target.name), text.encode("utf-8", "surrogateescape"))

    def result(self, job: Job) -> Optional[Dict[str, Any]]:
        """The recorded outcome of a scan; None if there is no record."""
        record = self._read(job)
        return None if record is None else dict(record["result"])

    def results_so_far(self) -> List[Dict[str, Any]]:
        """The recorded outcomes of all scans of all processes, sorted by the results' names."""
        found = []
        for path in sorted(self._records.glob("*.json")):
            record = _parsed(path)
            if record is not None:
                found.append({**record["result"], "name": path.name[: -len(".json")]})
        return found

    def count(self) -> int:
        """The number of records, without reading them."""
        return sum(1 for _ in self._records.glob("*.json"))

    def picture_of(self, name: str) -> Path:
        """The path of a result's picture."""
        return self.results / FOLDER / "pictures" / f"{name}.png"

    @contextmanager
    def tables(self) -> Iterator[None]:
        """A lock held while the tables are written, so that the last ones written contain all records."""
        with open(self._locks / "tables.lock", "ab") as file:
            # On a file system without locks, the tables may miss what another process records at this moment.
            lock(file, wait=True)
            yield

    def _place(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _read(self, job: Job) -> Optional[Dict[str, Any]]:
        return _parsed(self._place(job.target.name))


def _parsed(path: Path) -> Optional[Dict[str, Any]]:
    try:
        record = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    whole = isinstance(record, dict) and record.get("format") == _FORMAT and isinstance(record.get("result"), dict)
    return record if whole else None


def _identity(path: Path, files: Any) -> Dict[str, Any]:
    """Detects whether files have changed: quickly by size and time, reliably by their content."""
    paths = _paths(path, files)
    return {"facts": _facts(path, paths), "sha256": _content(path, paths)}


def _is_same(before: Any, path: Path, files: Any) -> bool:
    if not isinstance(before, dict):
        return False
    try:
        paths = _paths(path, files)
        # Copied or touched files have another time but the same content.
        return bool(before.get("facts") == _facts(path, paths) or before.get("sha256") == _content(path, paths))
    except OSError:
        return False


def _paths(path: Path, files: Any) -> List[str]:
    if files is not None:
        return sorted(os.fspath(file) for file in files)
    return sorted(os.fspath(file) for file in walk_files(path)) if path.is_dir() else [os.fspath(path)]


def _facts(root: Path, paths: List[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        facts = os.stat(path)
        line = f"{os.path.relpath(path, root)}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _content(root: Path, paths: List[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{os.path.relpath(path, root)}\0{sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
