"""When memory runs out during inference: smaller tiles, then the CPU, then one clear error message."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional, Tuple, Union

import numpy as np

from .errors import DeviceError, ResourceError, is_out_of_memory

if TYPE_CHECKING:
    import torch

    from .inference import Model

IN_TILES = "memory ran short: slices were computed in tiles, which may shift the result's border slightly"
ON_THE_CPU = "the GPU has too little free memory for this scan: it was computed on the CPU instead"
#: Margin of a tile, and side of the smallest tile without its margin, in multiples of the pooling divisor.
_HALO, _SMALLEST = 2, 2


class Computing:
    """Computes the probabilities of slabs, using less memory if necessary.

    The first slab that does not fit into memory is computed again in two tiles, then four, and so on; if even
    the smallest do not fit into a GPU's memory, the CPU takes over.  The following slabs keep the tile size
    that worked.  As long as memory suffices, slabs are computed whole.

    Args:
        model: the network.

    Attributes:
        notes: sentences for the user about tiles or a change of device.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._device = model.device
        self._compute: Callable[[torch.Tensor], torch.Tensor] = model.network if model.fast is None else model.fast
        self._divisor = model.recipe.architecture.divisor
        self._tile: Optional[Tuple[int, int]] = None
        self.notes: List[str] = []

    def __call__(self, slab: np.ndarray) -> np.ndarray:
        """Probabilities of one slab.

        Args:
            slab: (z, y, x) float32 whose sides the network can halve.

        Returns:
            (classes, z, y, x) float32.

        Raises:
            DeviceError: there is too little memory even for the smallest tiles.
        """
        return self.tensor(slab).cpu().numpy()

    def tensor(self, slab: Union[np.ndarray, torch.Tensor]) -> torch.Tensor:
        """The same, on the device that computed it.

        Args:
            slab: (z, y, x) float32, in the computer's memory or on the network's device.
        """
        while True:
            try:
                return self._in_tiles(slab) if self._tile else self._whole(slab)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                # The traceback's frames still refer to the tensors that filled the memory.
                reason = error.with_traceback(None)
            self._release()
            self._try_less(slab.shape[1:], reason)

    def _whole(self, slab: Union[np.ndarray, torch.Tensor]) -> torch.Tensor:
        import torch

        from .acceleration.gpu.precision import inference_precision

        with inference_precision(self._device):
            voxels = torch.from_numpy(np.ascontiguousarray(slab)) if isinstance(slab, np.ndarray) else slab
            tensor = voxels[None, None].to(self._device).contiguous(memory_format=torch.channels_last_3d)
            return torch.softmax(self._compute(tensor).float(), dim=1)[0]

    def _in_tiles(self, slab: Union[np.ndarray, torch.Tensor]) -> torch.Tensor:
        assert self._tile is not None
        _, height, width = slab.shape
        halo = _HALO * self._divisor
        result: Optional[torch.Tensor] = None
        for y in range(0, height, self._tile[0]):
            for x in range(0, width, self._tile[1]):
                y_end, x_end = min(y + self._tile[0], height), min(x + self._tile[1], width)
                top, left = max(0, y - halo), max(0, x - halo)
                part = self._whole(slab[:, top : y_end + halo, left : x_end + halo])
                if result is None:
                    result = part.new_empty((len(part), *slab.shape))
                result[:, :, y:y_end, x:x_end] = part[:, :, y - top : y_end - top, x - left : x_end - left]
        assert result is not None
        return result

    def _try_less(self, plane: Tuple[int, ...], reason: BaseException) -> None:
        """Halves the longer side of the tiles; moves to the CPU once they have the minimum size."""
        sides = list(self._tile or plane)
        longer = sides.index(max(sides))
        if sides[longer] > _SMALLEST * self._divisor:
            sides[longer] = -(-sides[longer] // (2 * self._divisor)) * self._divisor
            self._tile = (sides[0], sides[1])
            self._note(IN_TILES)
        elif self._device.type != "cpu":
            self._move_to_cpu()
        else:
            raise DeviceError(
                "too little memory on the CPU for this scan; close other programs, or crop the scan"
            ) from reason

    def _move_to_cpu(self) -> None:
        import torch

        from .acceleration import accelerate

        # Outside inference mode, as when a network is loaded: accelerate() compares its fast paths outside of it.
        with torch.inference_mode(False):
            network = copy.deepcopy(self._model.network).to("cpu")
            self._compute, self._device = accelerate(network), torch.device("cpu")
        self._tile = None
        self.notes.clear()
        self._note(ON_THE_CPU)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)

    def _release(self) -> None:
        import torch

        from .acceleration.allocator import release_pages

        if self._device.type == "cuda" and torch.cuda.is_available():
            torch.cuda.empty_cache()
        release_pages()


@contextlib.contextmanager
def readable_memory_errors() -> Iterator[None]:
    """Turns an out-of-memory error anywhere around the network into a one-line error.

    Raises:
        ResourceError: there is too little.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if "cuda" in str(error).lower():
            raise ResourceError("the GPU has too little free memory; choose the CPU as the device") from error
        raise ResourceError(
            "the computer has too little free memory for this scan; close other programs, or crop it"
        ) from error
