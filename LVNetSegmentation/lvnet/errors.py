"""Errors that a user can cause, and the exception for cancelled work.

Every error a user can cause is an :class:`LVNetError`: one line that says what is wrong and what
to do.  The command line prints that line and exits with code 2, the panel shows it once.
Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations


class LVNetError(Exception):
    """Base of all errors that a user can cause and fix."""


class ImageError(LVNetError):
    """An image that cannot be read, written or segmented."""


class GeometryError(LVNetError):
    """Two images, or an image and a network, whose voxel grids do not match."""


class CheckpointError(LVNetError):
    """A weights file that is damaged, of another version, or not an LV-Net checkpoint."""


class ConfigurationError(LVNetError):
    """Invalid or contradictory settings, such as a slab depth that the network cannot halve."""


class DeviceError(LVNetError):
    """A compute device that was requested and does not work on this computer."""


class DependencyError(LVNetError):
    """A package that this task needs and that is missing or broken."""


class ResourceError(LVNetError):
    """Too little memory or disk space for this scan."""


class ComputationError(LVNetError):
    """The worker process ended or failed for a reason other than the scan or the settings."""


class Cancelled(Exception):  # noqa: N818
    """Raised inside long work once its `cancelled` callback has returned True.

    Not an :class:`LVNetError`: nothing is wrong, and there is nothing to fix.
    """
