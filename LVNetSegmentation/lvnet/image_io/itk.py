"""Reading headers and images with SimpleITK, without its output on stderr."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Iterator, Tuple

import SimpleITK as sitk  # noqa: N813 - the library's own customary name

from .names import check_name
from .streams import damaged

_STDERR = threading.Lock()

Grid = Tuple[Tuple[float, ...], Tuple[float, ...], Tuple[float, ...]]


@contextmanager
def quiet() -> Iterator[None]:
    """Silences ITK's warnings, which go to stderr in several lines each."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


@contextmanager
def silent_codecs() -> Iterator[None]:
    """Silences the JPEG libraries, which print to stderr even if there is no error.

    The whole process's stderr is redirected meanwhile, so use this for one slice at a time only.
    """
    with _STDERR, ExitStack() as stack:
        try:
            sys.stderr.flush()
            kept = os.dup(2)
        except (OSError, AttributeError):  # a program without a terminal has no stderr to protect
            yield
            return
        stack.callback(os.close, kept)
        stack.callback(os.dup2, kept, 2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield


def read_header(name: str, path: Path, image_io: str) -> Any:
    """A SimpleITK reader that has read only the header of a file.

    Raises:
        ImageError: ITK cannot read the header, or the file's name would crash the process.
    """
    check_name(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError as error:
        raise damaged(name) from error
    return reader


def pixel_bytes(reader: Any) -> int:
    """Bytes per voxel value according to the header."""
    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    bits = re.search(r"(\d+)-bit", name)
    return int(bits.group(1)) // 8 if bits else 8


def read_whole(name: str, reader: Any) -> Any:
    """The SimpleITK image that a reader points to.

    Raises:
        ImageError: the file ends too early or is damaged.
    """
    try:
        with quiet():
            return reader.Execute()
    except RuntimeError as error:
        raise damaged(name) from error


def grid_of(image: Any) -> Grid:
    """Spacing (x, y, z), origin (x, y, z) and nine direction cosines of the first three axes."""
    dimension = image.GetDimension()
    direction = image.GetDirection()
    return (
        tuple(image.GetSpacing()[:3]),
        tuple(image.GetOrigin()[:3]),
        tuple(direction[row * dimension + column] for row in range(3) for column in range(3)),
    )
