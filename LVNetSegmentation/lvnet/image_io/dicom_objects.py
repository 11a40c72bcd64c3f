"""DICOM objects that hold results, opened and saved by pydicom without a word about whose they are."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import Any, Iterator

from ..errors import DependencyError, ImageError
from .names import PathLike
from .write import atomic_file

_LIBRARIES = ("pydicom", "highdicom")
#: What these libraries raise over data, besides exceptions of their own.
_CAUSED_BY_DATA = (
    AttributeError, KeyError, IndexError, TypeError, ValueError, ArithmeticError, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
_EXTRA = "pip install 'lvnet-segmentation[dicom]'"


def open_object(name: str, path: str) -> Any:
    """The data set of a DICOM file.

    Args:
        name: the file's name for messages.
        path: the file.

    Raises:
        DependencyError: pydicom is missing.
        ImageError: the file is damaged.
    """
    try:
        import pydicom
    except ImportError as error:
        raise DependencyError(f"reading {name} needs the package pydicom: {_EXTRA}") from error
    with understood(name):
        return pydicom.dcmread(path, force=True)


def save_object(data: Any, path: PathLike) -> None:
    """Writes a data set, whole or not at all.

    Args:
        data: a pydicom.Dataset.
        path: the file.

    Raises:
        ImageError: the file cannot be written.
    """
    with silenced(), atomic_file(path) as file:
        data.save_as(file)


@contextmanager
def silenced() -> Iterator[None]:
    """Keeps the libraries from printing values of a header, which may name the patient."""
    loggers = [logging.getLogger(module) for module in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


@contextmanager
def understood(name: str) -> Iterator[None]:
    """Turns whatever a foreign data set causes into one line, and keeps its values off the screen.

    Raises:
        ImageError: something the object should have is missing or makes no sense.
    """
    with silenced():
        try:
            yield
        except Exception as error:
            if not (isinstance(error, _CAUSED_BY_DATA) or type(error).__module__.partition(".")[0] in _LIBRARIES):
                raise
            # The reason may name the patient.
            raise ImageError(
                f"{name} is no DICOM segmentation that can be understood ({type(error).__name__}); export it again"
            ) from error


def needs(package: str, name: str) -> DependencyError:
    """What to say where a package is missing that this file needs."""
    return DependencyError(f"reading {name} needs the package {package}: {_EXTRA}")
