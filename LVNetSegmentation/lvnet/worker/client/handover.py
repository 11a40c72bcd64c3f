"""Passes voxels to the worker, one plane per step."""

from __future__ import annotations

from typing import Generator

import numpy as np

from ...errors import ImageError
from ...image_io.voxels import AIR, VoxelStack
from ...volume import Volume
from ..exchange import Exchange, check_space, writing_array

#: Does a few milliseconds of work per step; returns a volume.
VolumeWork = Generator[None, None, Volume]


def hand_over(volume: Volume, exchange: Exchange, file: str, answer_bytes: int = 0) -> VolumeWork:
    """Writes the voxels of a volume to the exchange folder, plane by plane.

    Args:
        volume: with voxels of any real type.
        exchange: the folder.
        file: the name of the file in it.
        answer_bytes: bytes per voxel that the worker will write there.

    Returns:
        A generator that returns the volume as it was written, but without its voxels.
    """
    volume = yield from usual_voxel_steps(volume)
    array = volume.array
    check_space(exchange.path, array.nbytes + answer_bytes * array.size)
    yield from writing_array(exchange.path / file, array, volume.shape, array.dtype)
    # Only the geometry is needed from here on; the voxels can be freed.
    return volume.with_array(np.broadcast_to(array.dtype.type(0), volume.shape))


def usual_voxels(volume: Volume) -> Volume:
    """The volume with int16 voxels if every value fits exactly, else float32.

    Raises:
        ImageError: no voxel has a finite value.
    """
    steps = usual_voxel_steps(volume)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            usual: Volume = stop.value
            return usual


def usual_voxel_steps(volume: Volume) -> VolumeWork:
    """:func:`usual_voxels` as a generator that converts one slice per step and returns the volume."""
    if volume.array.dtype == np.int16:
        return volume
    stack = VoxelStack(volume.shape)
    for index, plane in enumerate(volume.array):
        stack.put(index, plane)
        yield
    if stack.all_replaced:
        raise ImageError(f"{volume.name} contains no voxel with a finite value; load it again")
    notes = []
    if stack.replaced:
        notes.append(f"{stack.replaced} voxels without a finite value set to {AIR} HU (air)")
    return volume.with_array(stack.array(), notes=(*volume.notes, *notes))
