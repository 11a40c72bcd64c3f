"""Passes voxels between processes as .npy files in a private folder that is always removed.

The folder belongs to the requesting process, which holds a lock on a file in it as long as it runs; the
system releases the lock however the process ends.  So an unlocked folder was left by a process that was
killed, and the next process removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import IO, Iterable, Iterator, Optional, Tuple, Union

import numpy as np

from ..errors import ResourceError
from ..files import lock
from ..progress import CancelCheck, never_cancelled, raise_if_cancelled

PREFIX = "lvnet-exchange-"
SCAN_FILE = "scan.npy"
LABEL_FILE = "label.npy"
PREDICTION_FILE, REFERENCE_FILE = "prediction.npy", "reference.npy"
_LOCK_FILE = "lock"
#: How long a folder without a lock file is left alone: the process that made it may be about to create one.
_GRACE_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class Exchange:
    """A private folder, created by the requesting process.

    Args:
        parent: where to create it; None takes the system's folder for temporary files.

    Attributes:
        path: the folder; only its owner has access.

    Raises:
        ResourceError: it cannot be created.
    """

    def __init__(self, parent: Optional[Union[str, Path]] = None) -> None:
        self._lock: Optional[IO[bytes]] = None
        with readable_disk_errors(Path(parent or tempfile.gettempdir())):
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            try:
                self._lock = open(self.path / _LOCK_FILE, "wb")  # noqa: SIM115 - held as long as the folder
                lock(self._lock)
            except OSError:
                self.remove()
                raise

    def remove(self) -> bool:
        """Removes the folder; returns False if it still exists, as on Windows while another process reads it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return remove_folder(self.path)


def remove_folder(path: Union[str, Path]) -> bool:
    """Removes an exchange folder, and no other kind of folder; returns whether it is gone."""
    if not Path(path).name.startswith(PREFIX):
        return False
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def remove_stale(parent: Optional[Union[str, Path]] = None) -> int:
    """Removes the folders left by killed processes of this user; returns how many were removed.

    Args:
        parent: see :class:`Exchange`.
    """
    removed = 0
    folder = Path(parent or tempfile.gettempdir())
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{PREFIX}*"):
            if _is_stale(path) and remove_folder(path):
                removed += 1
    return removed


def write_array(
    path: Union[str, Path], planes: Iterable[np.ndarray], shape: Tuple[int, ...], dtype: np.dtype,
    cancelled: CancelCheck = never_cancelled,
) -> None:  # fmt: skip
    """Writes an array plane by plane as .npy.

    It uses ordinary writes, not a memory map, which would crash the process on a full disk.

    Args:
        path: an existing file is replaced.
        planes: in order; together they have shape `shape`.
        shape: of the whole array.
        dtype: of the planes.
        cancelled: called before every plane.

    Raises:
        ResourceError: the disk is full.
        Cancelled: `cancelled` returned True.
    """

    def asked() -> Iterator[np.ndarray]:
        for plane in planes:
            raise_if_cancelled(cancelled)
            yield plane

    for _ in writing_array(path, asked(), shape, dtype):
        pass


def writing_array(
    path: Union[str, Path], planes: Iterable[np.ndarray], shape: Tuple[int, ...], dtype: np.dtype
) -> Iterator[None]:
    """:func:`write_array` as an iterator that writes one plane per step, for a caller with other work to do.

    The file is complete when the iterator is exhausted; closing the iterator closes the file.

    Args:
        path, planes, shape, dtype: as for :func:`write_array`.

    Raises:
        ResourceError: the disk is full.
    """
    with readable_disk_errors(Path(path).parent), open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for plane in planes:
            file.write(np.ascontiguousarray(plane, dtype).data.cast("B"))
            yield


def map_array(path: Union[str, Path]) -> np.ndarray:
    """The array in a .npy file, memory-mapped and read-only."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@contextlib.contextmanager
def readable_disk_errors(folder: Path) -> Iterator[None]:
    """Turns the errors of a full disk or an unwritable folder into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"the disk that holds {folder} is full; free some space there, or choose another folder for"
                " temporary files"
            ) from error
        raise ResourceError(
            f"no temporary files can be written to {folder} ({error.strerror or error}); choose another folder"
            " for temporary files"
        ) from error


def check_space(folder: Union[str, Path], needed: int) -> None:
    """Checks that a folder's disk has enough free space.

    Args:
        folder: an existing folder.
        needed: bytes.

    Raises:
        ResourceError: there is less free space.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < needed:
        raise ResourceError(
            f"the disk that holds {folder} has {free / 1e6:.0f} MB left and {needed / 1e6:.0f} MB are needed;"
            " free some space there, or choose another folder for temporary files"
        )


def _is_stale(path: Path) -> bool:
    try:
        if hasattr(os, "getuid") and path.lstat().st_uid != os.getuid():
            return False
        with open(path / _LOCK_FILE, "r+b") as file:
            return lock(file)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            return time.time() - path.lstat().st_mtime > _GRACE_SECONDS
    except OSError:  # locked on Windows, not a folder, or not ours: leave it alone
        pass
    return False


__all__ = [
    "LABEL_FILE",
    "PREDICTION_FILE",
    "PREFIX",
    "REFERENCE_FILE",
    "SCAN_FILE",
    "Exchange",
    "check_space",
    "map_array",
    "remove_folder",
    "remove_stale",
    "write_array",
    "writing_array",
]
