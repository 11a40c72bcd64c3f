"""Files that are complete or absent, however the process that writes them ends.

A file is written under a hidden name in the same folder and renamed once it is complete.  Meanwhile its
writer holds a lock on it, which the operating system releases when the process ends, even by
`kill -9`.  A hidden file of ours without a lock was therefore left by a killed process; the next
process that writes into the folder removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, Iterator, Tuple, Union

PREFIX, SUFFIX = ".lvnet-", ".part"
#: On Windows, files must be closed (and so unlocked) before they are renamed: recently changed ones are left alone.
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
    """Whether a path is neither a file nor a folder; reading it may block or never end."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


@contextmanager
def whole_file(path: Union[str, os.PathLike[str]]) -> Iterator[BinaryIO]:
    """A file that appears under its name once it is complete, and not at all otherwise.

    Args:
        path: is replaced if it exists; a symbolic link stays a link.

    Raises:
        OSError: the disk is full, the folder is read-only, or the like.
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
        with suppress(OSError):  # already renamed if all went well
            os.unlink(temporary)


def write_whole(path: Union[str, os.PathLike[str]], data: bytes) -> None:
    """Writes a file completely or not at all; see :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def passing_folder(parent: Union[str, os.PathLike[str]], mode: int = 0o777) -> Iterator[Path]:
    """A hidden temporary folder, to be filled and then renamed; removed at the end if it was not.

    Args:
        parent: the folder to make it in.
        mode: permissions, before the umask is applied; 0o700 excludes other users.

    Raises:
        OSError: it cannot be made.
    """
    remove_stale(parent)
    # The lock is a separate file beside it, which is not renamed with the folder.
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
    """Removes what killed processes of this user have left in a folder; returns how many items.

    Args:
        folder: any path; one that cannot be listed counts as empty.
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
    except OSError:  # another process was faster, or removing it is not permitted
        return False
    return True


def _new_file(folder: str) -> Tuple[BinaryIO, str]:
    """A new hidden file, locked."""
    while True:
        # Not made by tempfile, so that the usual permissions apply.
        path = os.path.join(folder, f"{PREFIX}{secrets.token_hex(16)}{SUFFIX}")
        file = open(path, "xb")  # noqa: SIM115 - the caller closes it
        lock(file)
        # Another process may have removed it as stale before it was locked.
        if sys.platform == "win32" or os.fstat(file.fileno()).st_nlink:
            return file, path
        file.close()


if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[bytes], wait: bool = False) -> bool:
        """Locks a file if no other process holds its lock; closing the file releases it.

        Args:
            wait: until the lock is free.
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
        """Locks a file if no other process holds its lock; closing the file releases it.

        Args:
            wait: until the lock is free.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # held by another process, or a file system without locks
            return False
        return True


def home(path: Union[str, os.PathLike[str]]) -> Union[str, os.PathLike[str]]:
    """A path with a leading ~ expanded, unless a file of that very name exists."""
    text = os.fspath(path)
    return os.path.expanduser(text) if text.startswith("~") and not os.path.lexists(text) else path


def readable_json(value: object, encoding: str = "utf-8") -> str:
    """JSON as readable as an encoding allows: file names may contain characters that it lacks.

    Args:
        value: anything that JSON can represent.
        encoding: of the destination.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)
    return text
