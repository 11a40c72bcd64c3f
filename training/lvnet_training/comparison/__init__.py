"""The paper's comparison: networks trained on the same patches, and evaluated on the same unseen cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import torch
from lvnet.errors import ConfigurationError
from lvnet.files import write_whole
from lvnet.progress import Progress, silent

from ..config import Config
from ..materials import gather, part_of
from ..sources import find_cases
from ..splits import keep_split, read_split
from ..validation import load_pairs
from .contestants import ABLATIONS, NETWORKS, REFERENCE, chosen
from .results import assemble, cases_csv, table_of, without_times
from .running import judge, train

__all__ = ["ABLATIONS", "NETWORKS", "REFERENCE", "compare", "table_of", "without_times"]

#: Fraction of a network's progress that is training.
_TRAINING = 0.9


def compare(
    config: Config,
    data: Path,
    output: Path,
    names: Sequence[str] = tuple(NETWORKS),
    *,
    split: Optional[Path] = None,
    cache: Optional[Path] = None,
    device: Optional[torch.device] = None,
    narrower: int = 1,
    save_every: int = 50,
    seconds_each: Optional[float] = None,
    validate_every: int = 1,
    overlap: float = 0.5,
    progress: Progress = silent,
    report: Callable[[str], None] = print,
) -> Dict[str, Any]:
    """Trains and evaluates one network after the other; finished ones are not repeated.

    Every network sees the same patches in the same order, determined by seed, epoch, step and index in the batch;
    2D networks see the slices of these patches.  The same call resumes where it was interrupted, even within an
    epoch, and on a CPU gives bitwise identical results.

    Args:
        config: the configuration of every run, except for the network.
        data: data set.
        output: folder for one subfolder per network (`last.pt`, a `.safetensors` for `lvnet segment`, `scores.json`),
            and for `results.json`, `cases.csv`, `table2.md`, `boxplots.png` and `report.html`, which are updated after
            each network.
        names: names of the networks, see :mod:`.contestants`.
        split: the training, validation and test cases; None follows the configuration's `split`.
        cache: by default a folder within `output`.
        narrower: divisor of the baselines' widths, for quick trials; 1 gives the paper's.
        save_every: patches between checkpoints.
        seconds_each: limit of the training time for each network; None sets no limit.
        validate_every: epochs between validations, if the split has validation cases.
        overlap: overlap of the slabs when segmenting the test cases.

    Returns:
        See :func:`.results.assemble`.

    Raises:
        ConfigurationError: the networks would not see the same patches, the folder contains another comparison, or
            there is no test case.
        ImageError: the data set contains no case, or a test case cannot be read.
    """
    device = device or torch.device("cpu")
    contestants = chosen(names)
    if config.hardness or config.patience:
        raise ConfigurationError("with `hardness` or `patience`, each network would see other patches; omit them")
    if len(config.classes) > 1:
        raise ConfigurationError("a comparison works with one class besides background only")
    if (seconds_each is not None and seconds_each <= 0) or save_every < 1:
        raise ConfigurationError("--seconds-each and --checkpoint-every must be positive")
    configs = {entry.name: entry.config(config, narrower) for entry in contestants}
    _keep_settings(output / "comparison.json", {name: c.digest for name, c in configs.items()}, seconds_each)
    kept = output / "split.yaml"
    if split is not None:
        keep_split(read_split(split), kept)
    elif not config.split and not kept.exists():
        raise ConfigurationError("there are no test cases: give --split, or `split` in the configuration")
    material = gather(config, output, data, split=kept if kept.exists() else None, cache=cache)
    for remark in material.remarks:
        report(remark)
    parts = read_split(kept)
    sources = part_of(find_cases(data), parts.test)
    for source in sources:
        # Checked before the hours of training, not after them.
        load_pairs([source], config.classes, config.labels)
    facts: Dict[str, Mapping[str, Any]] = {}
    scores: Dict[str, Mapping[str, Mapping[str, Any]]] = {}
    results: Dict[str, Any] = {}
    for number, entry in enumerate(contestants):

        def show(share: float, stage: str, first: float = number, name: str = entry.name) -> None:
            progress((first + share) / len(contestants), f"{name}, {stage}")

        folder, own = output / entry.name, configs[entry.name]
        facts[entry.name] = train(own, folder, material, device, save_every, seconds_each, validate_every,
                                  lambda share, stage: show(_TRAINING * share, stage), report)  # fmt: skip
        scores[entry.name] = judge(folder, sources, own, str(device), overlap,
                                   lambda share, stage: show(_TRAINING + (1 - _TRAINING) * share, stage))  # fmt: skip
        results = assemble(config, parts, contestants, facts, scores, device, seconds_each)
        _write(results, output)
    return results


def _keep_settings(path: Path, digests: Mapping[str, str], seconds_each: Optional[float]) -> None:
    """Refuses to resume a comparison with other settings; networks may be added."""
    found: Dict[str, Any] = {"networks": {}, "seconds_each": seconds_each}
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = dict(found["networks"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(f"{path} is damaged; choose another --output") from error
        other = [name for name, digest in digests.items() if known.get(name, digest) != digest]
        if other or found.get("seconds_each") != seconds_each:
            what = f"of {other[0]} " if other else ""
            raise ConfigurationError(
                f"{path.parent} contains a comparison with other settings {what}than these; choose another --output"
            )
    found["networks"] = {**found["networks"], **digests}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found, indent=2).encode("utf-8"))


def _write(results: Mapping[str, Any], output: Path) -> None:
    from .page import box_plots, page
    from .results import cost_table, tests_table

    plots = box_plots(results)
    tables = [table for table in (table_of(results), tests_table(results), cost_table(results)) if table]
    write_whole(output / "boxplots.png", plots)
    write_whole(output / "report.html", page(results, plots).encode("utf-8"))
    write_whole(output / "table2.md", ("\n\n".join(t.markdown() for t in tables) + "\n").encode("utf-8"))
    write_whole(output / "cases.csv", cases_csv(results).encode("utf-8"))
    write_whole(output / "results.json", json.dumps(results, indent=2).encode("utf-8"))
