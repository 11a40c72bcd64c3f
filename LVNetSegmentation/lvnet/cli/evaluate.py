"""`lvnet evaluate`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..batch import refuse_overwriting
from ..errors import ConfigurationError
from ..evaluation import evaluate, evaluate_folders, write_csv
from ..evaluation.cases import cases_in, scans_in
from ..evaluation.matching import titled
from ..evaluation.workers import check_jobs
from ..image_io.names import check_output_folder, check_output_path
from ..image_io.write import write_json
from .terminal import ProgressBar, json_text

_COLUMNS = (("dice", "DICE"), ("voe", "VOE"), ("rvd", "RVD"), ("assd_mm", "ASSD mm"), ("mssd_mm", "MSSD mm"))
_EXTRAS = (("hd95_mm", "HD95 mm"), ("surface_dice", "surf DICE"))
_REPORT_SUFFIXES = (".html", ".htm")


def run_evaluate(options: argparse.Namespace) -> int:
    """Prints the metrics as a table, or only JSON with `--json -`; the exit code is 2 if a case failed."""
    prediction, reference = Path(options.prediction), Path(options.reference)
    folders = _check(options, prediction, reference)
    labels = {
        "label": options.label,
        "labels": options.labels,
        "reference_set": options.reference_set,
        "weights": options.weights,
        "threshold": options.threshold,
    }
    common = {
        **labels,
        "preset": options.preset,
        "resample": options.resample,
        "hd95": options.hd95,
        "surface_dice_tolerance_mm": options.surface_dice,
    }
    if folders:
        with ProgressBar() as bar:
            result = evaluate_folders(
                prediction, reference, compare_dir=options.compare, jobs=options.jobs, progress=bar, **common
            )
    else:
        result = evaluate(prediction, reference, **common)
    if options.csv:
        write_csv(result, Path(options.csv))
    if options.json and options.json != "-":
        write_json(result, options.json)
    if options.report:
        from ..report import write_report

        with ProgressBar() as bar:
            write_report(
                result,
                prediction,
                reference,
                Path(options.report),
                resample=options.resample,
                images=options.images,
                jobs=options.jobs,
                progress=bar,
                **labels,
            )
    if options.json == "-":
        print(json_text(result))
    else:
        _print_tables(result)
    return 2 if result.get("failed") or result.get("comparison", {}).get("other_failed") else 0


def _check(options: argparse.Namespace, prediction: Path, reference: Path) -> bool:
    """Checks the arguments before any work is done; returns whether two folders are compared."""
    if os.path.isdir(prediction) != os.path.isdir(reference):
        raise ConfigurationError("prediction and reference must both be files or both be folders")
    check_jobs(options.jobs)
    folders = os.path.isdir(prediction)
    if options.compare is not None and not folders:
        raise ConfigurationError("--compare needs folders: two methods are compared over several cases")
    if options.images is not None and not options.report:
        raise ConfigurationError("--images is only used for the pictures of a report; add --report FILE")
    for name in (options.csv, options.json):
        if name is not None and name != "-":
            check_output_folder(name)
    if options.report is not None:
        check_output_path(options.report, _REPORT_SUFFIXES)
    outputs = [Path(name) for name in (options.csv, options.json, options.report) if name is not None and name != "-"]
    read = [Path(name) for name in (prediction, reference, options.compare, options.images) if name is not None]
    images = [
        image
        for folder in read
        if os.path.isdir(folder)
        for image in (*cases_in(folder, {}).values(), *scans_in(folder).values())
    ]
    refuse_overwriting([*read, *images], outputs, "read for the comparison")
    return folders


def _rows(result: Mapping[str, Any], name: str = "") -> Iterator[Tuple[str, Mapping[str, Any]]]:
    for case, values in result.get("cases", {}).items():
        yield from _rows(values, case)
    for label, values in result.get("labels", {}).items():
        yield f"{name} {titled(label)}".strip(), values
    if "dice" in result:
        yield name or "all", result


def _print_tables(result: Mapping[str, Any]) -> None:
    _print_cases(result)
    comparison = result.get("comparison")
    if comparison:
        print(f"\n{comparison['other_method']}:")
        _print_cases({"cases": comparison["other_cases"]})
    for label, summary in _by_label(result.get("summary", {})):
        if any(entry["count"] > 1 for entry in summary.values()):
            print()
            _print_summary(summary, label)
    if comparison:
        for label, entries in _by_label(comparison["metrics"]):
            print()
            _print_comparison(entries, label, comparison["method"], comparison["other_method"])
    for key, what in (("failed", "not evaluated"), ("unmatched_predictions", "no reference"),
                      ("unmatched_references", "no prediction")):  # fmt: skip
        _complain(what, result.get(key))
        if comparison:
            _complain(f"{comparison['other_method']}, {what}", comparison.get(f"other_{key}"))


def _print_cases(result: Mapping[str, Any]) -> None:
    rows = list(_rows(result))
    columns = [*_COLUMNS, *(extra for extra in _EXTRAS if any(extra[0] in values for _, values in rows))]
    width = max([4] + [len(name) for name, _ in rows])
    print(
        " ".join(["case".ljust(width)] + [title.rjust(9) for _, title in columns] + ["reference ml", "prediction ml"])
    )
    for name, values in rows:
        cells = ["-".rjust(9) if values.get(key) is None else f"{values[key]:9.4f}" for key, _ in columns]
        print(
            " ".join([name.ljust(width), *cells, f"{values['reference_ml']:12.1f}", f"{values['prediction_ml']:13.1f}"])
        )
        for reason in dict.fromkeys(value for key, value in values.items() if key.endswith("_reason")):
            print(f"note: {name}: {reason}", file=sys.stderr)
    for name, values in (("", result), *result.get("cases", {}).items()):
        for note in values.get("notes", []):
            print(f"note: {name}{': ' if name else ''}{note}", file=sys.stderr)


def _print_summary(summary: Mapping[str, Any], label: str) -> None:
    print(
        f"{label}{'summary':<14} {'mean':>9} {'95 % interval':>21} {'sd':>9} {'median':>9} {'95 % interval':>21} cases"
    )
    for name, entry in summary.items():
        cells = [_number(entry["mean"]), _interval(entry["mean_ci95"]), _number(entry["sd"]),
                 _number(entry["median"]), _interval(entry["median_ci95"])]  # fmt: skip
        missing = f" ({entry['undefined']} undefined)" if entry["undefined"] else ""
        print(f"{name:<14} {' '.join(cells)} {entry['count']:5d}{missing}")


def _print_comparison(entries: Mapping[str, Any], label: str, method: str, other: str) -> None:
    print(f"{label}{method} minus {other} (Wilcoxon signed-rank, two-sided, not corrected for multiple testing)")
    print(f"{'comparison':<14} {'mean':>9} {'other':>9} {'diff':>9} {'95 % interval':>21} {'p':>9} cases")
    for name, entry in entries.items():
        cells = [_number(entry["mean"]), _number(entry["other_mean"]), _number(entry["mean_difference"]),
                 _interval(entry["mean_difference_ci95"]), _number(entry["wilcoxon_p"])]  # fmt: skip
        reason = f"  {entry['wilcoxon_p_reason']}" if "wilcoxon_p_reason" in entry else ""
        print(f"{name:<14} {' '.join(cells)} {entry['count']:5d}{reason}")


def _by_label(entries: Mapping[str, Any]) -> List[Tuple[str, Dict[str, Any]]]:
    if "labels" in entries:
        return [(f"{titled(label)}\n", values) for label, values in entries["labels"].items()]
    return [("", dict(entries))] if entries else []


def _number(value: Optional[float]) -> str:
    return "-".rjust(9) if value is None else f"{value:9.4f}"


def _interval(bounds: Optional[Sequence[float]]) -> str:
    return "-".rjust(21) if bounds is None else f"{bounds[0]:9.4f} to {bounds[1]:8.4f}"


def _complain(what: str, entries: Any) -> None:
    for entry in entries or ():
        reason = f": {entries[entry]}" if isinstance(entries, dict) else ""
        print(f"{what}: {entry}{reason}", file=sys.stderr)
