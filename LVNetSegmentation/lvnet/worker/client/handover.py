"""Voxels on their way to the worker."""

from __future__ import annotations

import numpy as np
from lvnet.volume import Volume
from lvnet.worker.exchange import Exchange, check_space, writing_array

from . import nodes
from .steps import Work


def handOver(volume: Volume, exchange: Exchange, file: str, answerBytes: int = 0) -> Work:
    """Writes the voxels of a volume to where the worker reads them, plane by plane; touches no node.

    Args:
        volume: its voxels may be of any real type.
        exchange: the folder.
        file: the name of the file in it.
        answerBytes: that the worker will write there, for each voxel.

    Returns:
        A generator that returns the volume as it was written, without its voxels.
    """
    volume = yield from nodes.usualVoxelSteps(volume)
    array = volume.array
    check_space(exchange.path, array.nbytes + answerBytes * array.size)
    yield from writing_array(exchange.path / file, array, volume.shape, array.dtype)
    # Only the place is needed from here on; the voxels may go.
    return volume.with_array(np.broadcast_to(array.dtype.type(0), volume.shape))
