"""Opening and saving DICOM objects that contain results, without ever printing the patient's identity."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import Any, Iterator

from ..errors import DependencyError, ImageError
from .names import PathLike
from .write import atomic_file

_LIBRARIES = ("pydicom", "highdicom")
#: Exceptions that these libraries raise for invalid data, besides their own.
_CAUSED_BY_DATA = (
    AttributeError, KeyError, IndexError, TypeError, ValueError, ArithmeticError, EOFError, NotImplementedError,
    RuntimeError,
)  # fmt: skip
_EXTRA = 'pip install "lvnet-segmentation[dicom]"'


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
    """Prevents the libraries from printing header values, which may identify the patient."""
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
    """Turns any error that an invalid data set causes into one line that does not show its values.

    Raises:
        ImageError: the object is incomplete or invalid.
    """
    with silenced():
        try:
            yield
        except Exception as error:
            if not (isinstance(error, _CAUSED_BY_DATA) or type(error).__module__.partition(".")[0] in _LIBRARIES):
                raise
            # The exception's text may identify the patient.
            raise ImageError(
                f"{name} is not a valid DICOM segmentation ({type(error).__name__}); export it again"
            ) from error


def needs(package: str, name: str) -> DependencyError:
    """The error for a missing package that is needed to read a file."""
    return DependencyError(f"reading {name} needs the package {package}: {_EXTRA}")
