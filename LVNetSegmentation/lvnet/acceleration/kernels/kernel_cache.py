"""Caches compiled kernels in files, so that they are compiled once per computer and not at every start.

A file holds the machine code of a few kernels for one processor, one version of their source and one of
the compiler.  It is used only if it is complete and only the user can have written it; otherwise, and
where no file can be kept, kernels are compiled again without a message.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Dict, Optional

from ...files import write_whole
from ..keeping import SETTING, cache_folder
from .native import MachineCode, compile_kernels
from .processor import target

__all__ = ["SETTING", "cache_folder", "kernels_of"]

_FORMAT = 1
_SUFFIX = ".kernels"
#: Larger files are not read; a real one has a few hundred kilobytes at most.
_MOST_BYTES = 16 << 20
#: Number of files kept: enough for two processors and two versions.
_MOST_FILES = 64


def kernels_of(module: str, *settings: int) -> MachineCode:
    """Machine code of the kernels that `module.functions(*settings)` describes.

    Args:
        module: a module of this package, by its name; it is imported only to compile.
        settings: what the kernels are built for, such as the register width.

    Raises:
        Exception: they are not cached and cannot be compiled.
    """
    key = _key(module, settings)
    path = _path(module, key)
    found = _read(path, key) if path else None
    if found is None:
        from importlib import import_module

        found = compile_kernels(import_module(f".{module}", __package__).functions(*settings))
        if path:
            _keep(path, key, found)
    return found


def _key(module: str, settings: tuple) -> Dict[str, object]:
    name, features = target()
    return {
        "format": _FORMAT,
        "module": module,
        "settings": list(settings),
        "platform": sys.platform,
        "bits": sys.maxsize.bit_length() + 1,
        "processor": name,
        "features": features,
        "numba": version("numba"),
        "llvmlite": version("llvmlite"),
        "source": _source(),
    }


@lru_cache(maxsize=1)
def _source() -> str:
    """A checksum of the source code of all kernels."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for folder in (here, here.parent / "layout"):
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _path(module: str, key: Dict[str, object]) -> Optional[Path]:
    folder = cache_folder()
    if folder is None:
        return None
    return folder / f"{module}-{hashlib.sha256(_text(key)).hexdigest()[:24]}{_SUFFIX}"


def _text(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _read(path: Path, key: Dict[str, object]) -> Optional[MachineCode]:
    """The kernels in a file; None unless it is complete and can be trusted."""
    try:
        if not _is_private(path.parent):
            return None
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags), "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or not _is_ours(facts) or facts.st_size > _MOST_BYTES:
                return None
            line, code = file.readline(1 << 16), file.read()
        header = json.loads(line)
        if header["key"] != key or header["sha256"] != hashlib.sha256(code).hexdigest():
            return None
        return MachineCode(code, {str(name): int(count) for name, count in header["arguments"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(path: Path, key: Dict[str, object], kernels: MachineCode) -> None:
    header = {"key": key, "sha256": hashlib.sha256(kernels.code).hexdigest(), "arguments": kernels.arguments}
    with suppress(OSError):
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(path.parent):
            return
        write_whole(path, _text(header) + b"\n" + kernels.code)
        files = sorted(path.parent.glob(f"*{_SUFFIX}"), key=lambda file: file.stat().st_mtime)
        for old in files[:-_MOST_FILES]:
            old.unlink()


def _is_private(folder: Path) -> bool:
    """Whether a folder belongs to the user and nobody else can write to it."""
    facts = os.lstat(folder)
    others_write = os.name == "posix" and bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return stat.S_ISDIR(facts.st_mode) and _is_ours(facts) and not others_write


def _is_ours(facts: os.stat_result) -> bool:
    return os.name != "posix" or facts.st_uid == os.geteuid()
