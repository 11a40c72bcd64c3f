"""The training and validation data of a run: cases of a data set or a part of it, and synthetic phantoms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from lvnet.errors import ConfigurationError
from lvnet.files import remove_stale

from .case import Case, Grid, make_case
from .config import Config
from .dataset import cached, load_cases
from .gridding import gridded
from .pack import read_pack
from .sources import Source, find_cases
from .splits import make_split, read_split, write_split
from .validation import Pair, load_pairs


@dataclass(frozen=True)
class Material:
    """The data of a run.

    Attributes:
        cases: training scans.
        phantoms: synthetic phantoms.
        pairs: validation scans with labels, for choosing the best epoch; empty without validation.
        remarks: sentences for the user, such as which case was left out.
    """

    cases: Sequence[Case]
    phantoms: Sequence[Case]
    pairs: Sequence[Pair]
    remarks: Tuple[str, ...]


def gather(
    config: Config,
    output: Path,
    data: Optional[Path] = None,
    validation: Optional[Path] = None,
    split: Optional[Path] = None,
    cache: Optional[Path] = None,
    judged: bool = True,
) -> Material:
    """Finds, checks and caches the data that a run needs.

    Args:
        output: folder of the run; a split from the configuration is made once and stored there.
        data: training data set, or a pack of one (see :mod:`.pack`); None uses phantoms only.
        validation: data set for choosing the best epoch; None uses the split's part, or none.
        split: split file for `data`; None follows the configuration.
        cache: by default a folder within `output`.
        judged: load the validation scans; among several processes only the first needs them.

    Raises:
        ConfigurationError: there is no training data, or the split names missing cases.
        ImageError: a data set contains no case, or a validation case cannot be read.
    """
    cache = cache or output / "cache"
    for folder in (output, output / "pictures", cache):
        remove_stale(folder)
    cases: List[Case] = []
    remarks: List[str] = []
    pairs: Sequence[Pair] = ()
    if data is not None and data.is_file():
        if split is not None or config.split:
            raise ConfigurationError("a pack contains its own split; omit --split")
        pack = read_pack(data, config)
        cases, pairs = pack.cases, pack.pairs if judged and validation is None else ()
        if pairs:
            remarks.append(f"validation evaluates {len(pairs)} scans on the pack's own grid, not on the original ones")
    elif data is not None:
        sources = find_cases(data)
        training: List[Source] = sources
        judging: List[Source] = []
        if split is not None or config.split:
            training, judging = _parts(config, output, sources, split, cache, remarks)
        cases, refused = load_cases(training, cache, config.classes, config.labels, config.grid)
        remarks += refused
        if judging and validation is None and judged:
            pairs = load_pairs(judging, config.classes, config.labels)
    elif split is not None:
        raise ConfigurationError("--split divides a data set; give --data as well")
    if validation is not None and judged:
        pairs = load_pairs(find_cases(validation), config.classes, config.labels)
    phantoms = [_phantom(config.seed * 1000 + number, cache, config.grid) for number in range(config.phantoms)]
    if not cases and not phantoms:
        raise ConfigurationError("no training data: give --data, or set `phantoms` in the configuration")
    return Material(cases, phantoms, pairs, tuple(dict.fromkeys(remarks)))


def part_of(sources: Sequence[Source], names: Sequence[str]) -> List[Source]:
    """The cases with these names.

    Raises:
        ConfigurationError: one is missing.
    """
    known = {source.name: source for source in sources}
    missing = [name for name in names if name not in known]
    if missing:
        raise ConfigurationError(f"the split contains {missing[0]}, which is not in the data set")
    if not names:
        raise ConfigurationError("this part of the split is empty")
    return [known[name] for name in names]


def _parts(
    config: Config, output: Path, sources: Sequence[Source], file: Optional[Path], cache: Path, remarks: List[str]
) -> Tuple[List[Source], List[Source]]:
    """Cases for training and for validation."""
    path = file or output / "split.yaml"
    if file is None and not path.exists():
        # Only usable cases are split, so that the parts have the requested numbers.
        usable, refused = load_cases(sources, cache, config.classes, config.labels)
        remarks += refused
        write_split(make_split([case.name for case in usable], config.split, config.seed, {}), path)
    parts = read_split(path)
    remarks.append(
        f"{len(parts.train)} cases for training, {len(parts.validation)} for validation, {len(parts.test)} for the test"
        f" ({path})"
    )
    return part_of(sources, parts.train), part_of(sources, parts.validation) if parts.validation else []


def _phantom(seed: int, cache: Path, grid: Optional[Grid]) -> Case:
    from lvnet import phantom

    name = f"phantom{seed}"
    place = f"phantom-{seed}" + ("" if grid is None else "-" + "x".join(f"{step:g}" for step in grid))
    return cached(name, cache / place, lambda: gridded(make_case(name, *phantom.make_phantom(seed)), grid))
