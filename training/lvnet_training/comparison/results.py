"""The results of a comparison as JSON, tables and CSV."""

from __future__ import annotations

import csv
import io
import math
import os
import platform
from datetime import date
from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch
from lvnet.evaluation.statistics import compared, summarised

from .. import paper
from ..config import Config
from ..paper_tables import Rows, Table, in_digits, table_2_of
from ..splits import Split
from .contestants import REFERENCE, Contestant

#: The format's identifier in the file.
FORMAT = "lvnet-comparison"
METRICS = tuple(key for key, _, _ in paper.METRICS)
#: Columns of cases.csv.
COLUMNS = ("network", "case", *METRICS, "reference_ml", "seconds", "extra_mib")


def assemble(
    config: Config,
    split: Split,
    contestants: Sequence[Contestant],
    facts: Mapping[str, Mapping[str, Any]],
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]],
    device: torch.device,
    seconds_each: Optional[float],
) -> Dict[str, Any]:
    """All results as valid JSON, without networks that are not finished yet.

    Args:
        facts: by network, the result of :func:`.running.train`.
        scores: by network, the result of :func:`.running.judge`.
    """
    networks: Dict[str, Any] = {}
    for entry in contestants:
        if entry.name not in scores:
            continue
        cases = scores[entry.name]
        ours = {metric: _values(cases, metric) for metric in METRICS}
        networks[entry.name] = {
            "title": entry.title,
            **facts[entry.name],
            "summary": {metric: summarised(values) for metric, values in ours.items()},
            "seconds_a_scan": _mean(_values(cases, "seconds")),
            "extra_mib": _largest(_values(cases, "extra_mib")),
            "cases": cases,
        }
        if entry.name != REFERENCE and REFERENCE in scores:
            theirs = scores[REFERENCE]
            networks[entry.name]["against_lvnet"] = {
                metric: compared(ours[metric], [_value(theirs[case], metric) for case in cases]) for metric in METRICS
            }
    stages = [
        {"epochs": s.epochs, "patch": list(s.patch), "batch": s.batch, "spacing": s.spacing and list(s.spacing)}
        for s in config.stages
    ]
    return {
        "format": FORMAT,
        "version": 1,
        "date": date.today().isoformat(),
        "machine": {
            "device": str(device), "processor": _processor(), "cores": os.cpu_count(), "system": platform.system(),
            "python": platform.python_version(), "torch": torch.__version__,
        },
        "settings": {
            "name": config.name, "sha256": config.digest, "seed": config.seed, "stages": stages,
            "samples_per_epoch": config.samples_per_epoch, "seconds_each": seconds_each,
        },
        "split": {"train": list(split.train), "validation": list(split.validation), "test": list(split.test)},
        "networks": networks,
    }  # fmt: skip


def without_times(results: Mapping[str, Any]) -> Dict[str, Any]:
    """The reproducible part of the results, without date, machine, seconds and memory."""

    def kept(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: kept(v) for k, v in value.items() if k not in _PASSING}
        return value

    return dict(kept(results))


_PASSING = {"date", "machine", "seconds", "seconds_a_scan", "extra_mib"}


def table_of(results: Mapping[str, Any]) -> Table:
    """Table 2: ours next to the paper's, and the evaluations behind it."""
    return table_2_of(results["networks"])


def tests_table(results: Mapping[str, Any]) -> Optional[Table]:
    """Each network against LV-Net, case by case; None if there is nothing to compare."""
    rows: Rows = []
    for entry in results["networks"].values():
        for (_, heading, digits), test in zip(paper.METRICS, entry.get("against_lvnet", {}).values()):
            interval = test["mean_difference_ci95"]
            rows.append(
                (
                    entry["title"], heading, in_digits(test["mean"], digits), in_digits(test["other_mean"], digits),
                    "-" if interval is None else f"{interval[0]:+.{digits}f} to {interval[1]:+.{digits}f}",
                    "-" if test["wilcoxon_p"] is None else f"{test['wilcoxon_p']:.4f}", str(test["count"]),
                )
            )  # fmt: skip
    if not rows:
        return None
    return Table(
        "Each network against LV-Net: Wilcoxon signed-rank test, two-sided, uncorrected for multiple testing",
        ("network", "metric", "mean", "LV-Net", "difference, 95 % interval", "p", "cases"),
        rows,
    )


def cost_table(results: Mapping[str, Any]) -> Table:
    """The computational cost of each network."""
    rows: Rows = []
    for entry in results["networks"].values():
        patches = entry["patches"]
        pace = f"{entry['seconds'] / patches:.2f}" if patches else "-"
        rows.append(
            (
                entry["title"], f"{entry['parameters']:,}", f"{entry['macs'] / 1e9:,.2f}", f"{entry['megabytes']:.2f}",
                f"{patches:,}", f"{entry['voxels'] / 1e6:,.1f}", pace,
                in_digits(entry["seconds_a_scan"], 1), in_digits(entry["extra_mib"], 0),
            )
        )  # fmt: skip
    sizes = sorted({entry["macs_input"] for entry in results["networks"].values()})
    return Table(
        "Computational cost of each network",
        ("network", "parameters", "GMACs per patch", "MiB", "patches seen", "million voxels seen",
         "s per patch, training", "s per scan", "MiB per scan, peak"),
        rows,
        (f"GMACs as the paper counts them, of {', '.join(sizes)} voxels.",),
    )  # fmt: skip


def cases_csv(results: Mapping[str, Any]) -> str:
    """One row per network and case."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for name, entry in results["networks"].items():
        for case, values in entry["cases"].items():
            rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
            writer.writerow({**rounded, "network": name, "case": case})
    return file.getvalue()


def _values(cases: Mapping[str, Mapping[str, Any]], metric: str) -> List[float]:
    return [_value(case, metric) for case in cases.values()]


def _value(case: Mapping[str, Any], metric: str) -> float:
    return float("nan") if case.get(metric) is None else float(case[metric])


def _mean(values: Sequence[float]) -> Optional[float]:
    defined = [value for value in values if math.isfinite(value)]
    return round(sum(defined) / len(defined), 3) if defined else None


def _largest(values: Sequence[float]) -> Optional[float]:
    return max((value for value in values if math.isfinite(value)), default=None)


def _processor() -> str:
    """The processor's name, as reported by the system."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()
