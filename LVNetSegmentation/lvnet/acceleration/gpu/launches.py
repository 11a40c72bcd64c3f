"""How the work of the Triton kernels is divided on a GPU: a default, and what was chosen by trying on this one.

Choices are kept in one file per card, version of Triton and version of the kernels, in the folder of compiled kernels.
Only listed candidates are accepted from it, so that a damaged file cannot name anything worse.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

import torch
from torch import Tensor

from ..keeping import cache_folder, keep_choice, read_choice

CONVOLVE, WEIGH = "convolve", "weigh"
_FORMAT = 1
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Launch:
    """How a kernel's work is divided.

    Attributes:
        channels: channels per tile; a power of two, like all fields but `programs`.
        columns: columns per tile, or per repeat if `repeat` is more than 1.
        repeat: groups of columns per tile for each load of a tap; unused by `_weigh`.
        warps: warps per program.
        programs: number of programs that the work is divided into: the least for `_convolve`, the most for `_weigh`.
    """

    channels: int
    columns: int
    repeat: int
    warps: int
    programs: int


@dataclass(frozen=True)
class Asked:
    """A launch that was asked for: of which kernel, size and shape (N, D, H, W, C)."""

    kernel: str
    size: int
    kind: torch.dtype
    shape: Tuple[int, ...]

    @property
    def key(self) -> str:
        """What launches are chosen for: shapes whose sides round to the same powers of two share one."""
        batch, depth, height, width, channels = self.shape
        sides = (1 << max(0, n - 1).bit_length() for n in (channels, width, batch * depth * height))
        kind = str(self.kind).rpartition(".")[2]
        return " ".join([self.kernel, f"k{self.size}", kind, *map("{}{}".format, "cwr", sides)])


def default_launch(kernel: str, size: int) -> Launch:
    """The launch where nothing was chosen.

    Args:
        kernel: CONVOLVE or WEIGH.
        size: k of the convolution, one of 3, 5, 7.
    """
    if kernel == CONVOLVE:
        return Launch(channels=32, columns=8, repeat=2, warps=1, programs=4096)
    # So many columns that k * k sums stay in registers.
    return Launch(channels=32, columns={3: 32, 5: 16, 7: 8}[size], repeat=1, warps=4, programs=2048)


def candidates(kernel: str, size: int) -> List[Launch]:
    """Launches to choose from, the default first; no sum of theirs leaves the registers of a GPU of capability 9.0."""
    first = default_launch(kernel, size)
    if kernel == CONVOLVE:
        tiles = [(32, 8, 1, 1), (32, 4, 2, 1), (32, 8, 2, 2), (32, 16, 2, 2), (32, 8, 4, 2)]
        tiles += [(64, 4, 2, 1), (64, 8, 2, 4)]
        more = [Launch(*tile, programs=first.programs) for tile in tiles]
        return [first, replace(first, programs=1024), replace(first, programs=16384), *more]
    tiles = {
        3: [(32, 16, 1, 4), (32, 32, 1, 8), (16, 32, 1, 4)],
        5: [(32, 8, 1, 4), (32, 8, 1, 2), (32, 16, 1, 8), (32, 32, 1, 8), (16, 16, 1, 4)],
        7: [(32, 16, 1, 8), (16, 16, 1, 4)],
    }[size]
    return [first, replace(first, programs=1024), replace(first, programs=4096),
            *(Launch(*tile, programs=first.programs) for tile in tiles)]  # fmt: skip


def launch_for(kernel: str, x: Tensor, size: int) -> Launch:
    """How a kernel is launched for an input.

    Args:
        kernel: CONVOLVE or WEIGH.
        x: (N, D, H, W, C).
        size: k of the convolution.
    """
    asked = Asked(kernel, size, x.dtype, tuple(x.shape))
    if _listeners:
        _listeners[-1].setdefault(asked.key, asked)
    found = chosen_on(x.device).get(asked.key) if x.is_cuda else None
    return found or default_launch(kernel, size)


#: Active recorders of requested launches, the innermost last.
_listeners: List[Dict[str, Asked]] = []


@contextmanager
def listening() -> Iterator[Dict[str, Asked]]:
    """Records the launches that are requested meanwhile, by key."""
    asked: Dict[str, Asked] = {}
    _listeners.append(asked)
    try:
        yield asked
    finally:
        _listeners.remove(asked)


@lru_cache(maxsize=16)
def chosen_on(device: torch.device) -> Dict[str, Launch]:
    """The launches chosen for a GPU, by key; tuning adds to them and calls :func:`keep`."""
    path = file_for(device)
    return {} if path is None else read(path)


def file_for(device: torch.device) -> Optional[Path]:
    """Where the launches of a GPU are kept; None where they are not."""
    folder = cache_folder()
    if folder is None:
        return None
    import triton

    name = torch.cuda.get_device_name(device)
    kernels = Path(__file__).with_name("triton_depthwise.py").read_bytes()
    identity = json.dumps([_FORMAT, name, torch.cuda.get_device_capability(device), triton.__version__]).encode()
    digest = hashlib.sha256(identity + b"\0" + kernels).hexdigest()[:16]
    return folder / f"triton-{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}-{digest}.json"


def read(path: Path) -> Dict[str, Launch]:
    """The launches of a file that are among the candidates; none of one that is missing or damaged."""
    stored = read_choice(path, _MOST_BYTES)
    found: Dict[str, Launch] = {}
    try:
        for key, values in stored.items():
            kernel, size = key.split(" ")[:2]
            launch = Launch(**values)
            # The candidate rather than the values: 32.0 equals 32, and is none.
            found.update((key, one) for one in candidates(kernel, int(size[1:])) if one == launch)
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
    return found


def keep(path: Optional[Path], launches: Mapping[str, Launch]) -> None:
    """Writes launches for the next start; where that is impossible they are chosen again one day."""
    if path is not None:
        keep_choice(path, {key: asdict(launch) for key, launch in sorted(launches.items())})
