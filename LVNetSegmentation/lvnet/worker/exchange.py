"""Voxels from one process to another: .npy files in a private folder that is always removed.

The folder belongs to the process that asks.  As long as that process lives, it holds a lock on a
file in the folder; the system lets go of the lock when the process ends, however it ends.  So a
folder that nobody has locked was left by a process that was killed, and the next one removes it.
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
#: A folder without a lock file is left alone for so long: its maker may be about to make one.
_GRACE_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class Exchange:
    """A private folder, made by the asking process.

    Args:
        parent: where to make it; None takes the system's folder for temporary files.

    Attributes:
        path: the folder; only its owner may look into it.

    Raises:
        ResourceError: it cannot be made.
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
        """Removes the folder; whether it is gone, which another process that reads it may delay on Windows."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        return remove_folder(self.path)


def remove_folder(path: Union[str, Path]) -> bool:
    """Removes an exchange folder, and no other folder; whether it is gone."""
    if not Path(path).name.startswith(PREFIX):
        return False
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def remove_stale(parent: Optional[Union[str, Path]] = None) -> int:
    """Removes the folders that killed processes of this user have left; how many.

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

    Written like any file, not through a mapping: on a full disk a mapping would crash the process.

    Args:
        path: is replaced.
        planes: in order, together `shape`.
        shape: of the whole.
        dtype: of the planes.
        cancelled: asked before every plane.

    Raises:
        ResourceError: the disk is full.
        Cancelled: `cancelled` answered True.
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
    """:func:`write_array` for a caller that has other things to do: one plane is written per step.

    The file is whole once the iterator has ended; closing the iterator closes the file.

    Args:
        path, planes, shape, dtype: see :func:`write_array`.

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
    """An array of a .npy file, mapped, read-only."""
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@contextlib.contextmanager
def readable_disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full disk and a folder that takes no files into one line that says what to do."""
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
    """Whether a folder's disk has room.

    Args:
        folder: any.
        needed: bytes.

    Raises:
        ResourceError: it has not.
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
    except OSError:  # locked on Windows, no folder, not ours: not to be touched
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
