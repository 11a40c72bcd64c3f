"""Files that are whole or absent, however the process that writes them ends.

A file is written under a hidden name beside its place and moved there once it is complete.  Its
writer holds a lock on it meanwhile, and the system lets go of that when the process ends, even by
`kill -9`.  So a hidden file of ours that nobody has locked was left by a killed process; whoever
writes into the folder next removes it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Iterator, Tuple, Union

PREFIX, SUFFIX = ".lvnet-", ".part"
#: Where files must be closed before they are moved, one that was just written to is left alone for so long.
_GRACE_SECONDS = 60.0 if sys.platform == "win32" else 0.0


def sha256_of(path: Union[str, os.PathLike[str]]) -> str:
    """SHA-256 of a file in hexadecimal, as `sha256sum` prints it.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def is_pipe_or_device(path: Union[str, os.PathLike[str]]) -> bool:
    """Whether a path is neither file nor folder; reading it may wait, or go on, for ever."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


@contextmanager
def whole_file(path: Union[str, os.PathLike[str]]) -> Iterator[BinaryIO]:
    """A file that appears under its name once it is complete, and leaves no trace otherwise.

    Args:
        path: is replaced; a link stays a link.

    Raises:
        OSError: the disk is full, the folder takes no files, or the like.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    remove_stale(folder)
    file, temporary = _new_file(folder)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform != "win32":
                os.replace(temporary, target)
        if sys.platform == "win32":
            os.replace(temporary, target)
    finally:
        with suppress(OSError):  # gone already when all went well
            os.unlink(temporary)


def write_whole(path: Union[str, os.PathLike[str]], data: bytes) -> None:
    """Writes a file that is whole or absent; see :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def passing_folder(parent: Union[str, os.PathLike[str]], mode: int = 0o777) -> Iterator[Path]:
    """A hidden folder to be filled and then moved to its place; what is not moved is removed at the end.

    Args:
        parent: the folder to make it in.
        mode: permissions, before the user's own mask is taken off; 0o700 keeps others out.

    Raises:
        OSError: it cannot be made.
    """
    remove_stale(parent)
    # Its lock is a file beside it, which the folder does not take along.
    lock, name = _new_file(os.fspath(parent))
    folder = Path(name + ".d")
    try:
        with lock:
            folder.mkdir(mode)
            yield folder
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            os.unlink(name)


def remove_stale(folder: Union[str, os.PathLike[str]], grace: float = _GRACE_SECONDS) -> int:
    """Removes what killed processes of this user have left in a folder; how many things.

    Args:
        folder: anything; what cannot be listed holds nothing of ours.
        grace: seconds since the last change for which a file is left alone.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX) and _remove_if_stale(entry, grace):
                removed += 1
    return removed


def _remove_if_stale(entry: os.DirEntry[str], grace: float) -> bool:
    try:
        facts = entry.stat(follow_symlinks=False)
        foreign = hasattr(os, "getuid") and facts.st_uid != os.getuid()
        if foreign or not entry.is_file(follow_symlinks=False) or time.time() < facts.st_mtime + grace:
            return False
        with open(entry.path, "r+b") as file:
            if not lock(file):
                return False
            shutil.rmtree(entry.path + ".d", ignore_errors=True)
            if sys.platform != "win32":
                os.unlink(entry.path)
        if sys.platform == "win32":
            os.unlink(entry.path)
    except OSError:  # another process was faster, or it is not ours to remove
        return False
    return True


def _new_file(folder: str) -> Tuple[BinaryIO, str]:
    """A new hidden file, locked."""
    while True:
        # Opened as a plain new file rather than by tempfile, so that the usual permissions apply.
        path = os.path.join(folder, f"{PREFIX}{secrets.token_hex(16)}{SUFFIX}")
        file = open(path, "xb")  # noqa: SIM115 - the caller closes it
        lock(file)
        # Another process may have taken it for a stale one before it was locked.
        if sys.platform == "win32" or os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()


if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[bytes], wait: bool = False) -> bool:
        """Takes the lock of a file if nobody holds it; the system lets go of it when the file is closed.

        Args:
            wait: until nobody holds it.
        """
        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.05)

else:
    import fcntl

    def lock(file: IO[bytes], wait: bool = False) -> bool:
        """Takes the lock of a file if nobody holds it; the system lets go of it when the file is closed.

        Args:
            wait: until nobody holds it.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # held by another process, or a disk that knows no locks
            return False
        return True


def home(path: Union[str, os.PathLike[str]]) -> Union[str, os.PathLike[str]]:
    """A path with the user's home for a leading ~, unless a file is called so."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") and not os.path.lexists(text) else path
