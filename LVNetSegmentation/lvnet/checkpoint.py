"""The checkpoint file of a trained network: weights, and the recipe as metadata.

The file is of the safetensors format, float16 on disk and float32 in use.  Its metadata has four
strings: `format` (the name of this format), `format_version`, `recipe` (JSON, see :class:`lvnet.recipe.Recipe`)
and `checksum` (SHA-256 over the recipe and every tensor).  The checksum detects a damaged file.  A file that
was replaced by another is detected if there is a file `SHA256SUMS` beside it, as there is for the bundled weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Union

import numpy as np

from .errors import CheckpointError, ConfigurationError
from .files import sha256_of, write_whole
from .recipe import Recipe
from .safetensors_format import encode_safetensors, read_safetensors

if TYPE_CHECKING:
    from torch import nn

FORMAT = "lvnet-checkpoint"
FORMAT_VERSION = "1"
#: The weights that are installed with the package.
BUNDLED_WEIGHTS = Path(__file__).parent / "weights" / "lvnet-liver.safetensors"
#: Lists checksums of the weights files in its folder, in the format of `sha256sum`.
SUMS_FILE = "SHA256SUMS"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        arrays: the state of the network by name, float32 (counters int64).
        recipe: everything else.
        checksum: SHA-256 in hexadecimal, checked on reading.
        path: where it was read from.
    """

    arrays: Mapping[str, np.ndarray]
    recipe: Recipe
    checksum: str
    path: Path

    def build(self) -> nn.Module:
        """The network in evaluation mode, on the CPU.

        Raises:
            CheckpointError: the weights do not match the architecture.
        """
        import torch

        from .building import build_network

        # On the meta device first: a false claim about the architecture must not allocate memory.
        with torch.device("meta"):
            state = build_network(self.recipe.architecture).state_dict()
        wanted = {name: tuple(value.shape) for name, value in state.items()}
        if wanted != {name: array.shape for name, array in self.arrays.items()}:
            raise CheckpointError(f"{self.path}: the weights do not match the architecture that the file names")
        network = build_network(self.recipe.architecture)
        network.load_state_dict({name: torch.from_numpy(array) for name, array in self.arrays.items()})
        return network.eval()


def load_checkpoint(path: Optional[Union[str, Path]] = None) -> Checkpoint:
    """Reads a checkpoint; the bundled one if no path is given.

    Raises:
        CheckpointError: the file is missing, truncated, of another version, changed, replaced, or not a checkpoint.
    """
    path = Path(path) if path is not None else BUNDLED_WEIGHTS
    expected = _sums(path.parent).get(path.name)
    if expected is not None and path.is_file() and file_sum(path) != expected:
        raise CheckpointError(
            f"{path} does not match its checksum in {SUMS_FILE}: it was damaged or replaced; copy or download"
            " both again"
        )
    stored, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not an LV-Net checkpoint; make one with `lvnet-train export`")
    if metadata.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {metadata.get('format_version')!r}; this program reads version"
            f" {FORMAT_VERSION}; update the program or export the weights again"
        )
    text, checksum = metadata.get("recipe", ""), metadata.get("checksum", "")
    if _checksum(text, stored) != checksum:
        raise CheckpointError(f"{path} was changed after it was written (wrong checksum); copy or download it again")
    try:
        recipe = Recipe.from_dict(json.loads(text))
    except (ValueError, RecursionError, ConfigurationError) as error:
        raise CheckpointError(f"{path}: its recipe cannot be read") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    arrays: Dict[str, np.ndarray] = {}
    for name, array in stored.items():
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
            if not np.all(np.isfinite(array)):
                raise CheckpointError(f"{path}: the weights contain values that are not finite")
        arrays[name] = array
    return Checkpoint(arrays, recipe, checksum, path)


def save_checkpoint(path: Union[str, Path], state: Mapping[str, Any], recipe: Recipe) -> str:
    """Writes weights and recipe; the file is written completely or not at all.

    Args:
        path: ends in .safetensors.
        state: the network's `state_dict`; auxiliary heads are left out, floats become float16.
        recipe: the recipe of these weights.

    A file `SHA256SUMS` beside it that lists it is updated.

    Returns:
        The checksum of the metadata.

    Raises:
        CheckpointError: a weight is out of the range of float16, or the file cannot be written.
    """
    arrays = {}
    for name, value in state.items():
        if name.startswith("heads."):
            continue
        array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
            if not np.all(np.isfinite(array)):
                raise CheckpointError(f"the weight {name} is too large for a 16-bit float; the training has diverged")
        arrays[name] = array
    text = json.dumps(recipe.to_dict(), ensure_ascii=False, sort_keys=True)
    checksum = _checksum(text, arrays)
    metadata = {"format": FORMAT, "format_version": FORMAT_VERSION, "recipe": text, "checksum": checksum}
    try:
        write_whole(path, encode_safetensors(arrays, metadata))
        _renew_sums(Path(path))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error
    return checksum


def _checksum(recipe: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(recipe.encode("utf-8"))
    for name in sorted(arrays):
        digest.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def file_sum(path: Union[str, Path]) -> str:
    """SHA-256 of a file in hexadecimal, as `sha256sum` prints it.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"cannot read the weights file {path}: {error.strerror or error}") from error


def _sums(folder: Path) -> Dict[str, str]:
    """SHA-256 by file name from a folder's SHA256SUMS; empty if there is none."""
    if not os.path.isfile(folder / SUMS_FILE):
        return {}
    try:
        with open(folder / SUMS_FILE, "rb") as file:
            lines = file.read(1 << 20).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    parts = (line.partition(" ") for line in lines)
    return {name.lstrip(" *"): digest.lower() for digest, found, name in parts if found}


def _renew_sums(path: Path) -> None:
    sums = _sums(path.parent)
    if path.name in sums:
        sums[path.name] = file_sum(path)
        text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        write_whole(path.parent / SUMS_FILE, text.encode("utf-8"))
