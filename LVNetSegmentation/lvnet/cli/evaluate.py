"""`lvnet evaluate`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

from ..errors import ConfigurationError, ImageError
from ..evaluation import evaluate, evaluate_folders, write_csv
from .terminal import ProgressBar

_COLUMNS = (("dice", "DICE"), ("voe", "VOE"), ("rvd", "RVD"), ("assd_mm", "ASSD mm"), ("mssd_mm", "MSSD mm"))


def run_evaluate(options: argparse.Namespace) -> int:
    """Prints the metrics as a table, or as JSON alone with `--json -`."""
    prediction, reference = Path(options.prediction), Path(options.reference)
    if prediction.is_dir() != reference.is_dir():
        raise ConfigurationError("prediction and reference must both be files or both be folders")
    if prediction.is_dir():
        with ProgressBar() as bar:
            result = evaluate_folders(
                prediction,
                reference,
                preset=options.preset,
                label=options.label,
                resample=options.resample,
                progress=bar,
            )
    else:
        result = evaluate(prediction, reference, preset=options.preset, label=options.label, resample=options.resample)
    if options.csv:
        write_csv(result, Path(options.csv))
    if options.json == "-":
        print(json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
    else:
        if options.json:
            _write_text(Path(options.json), json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False))
        _print_table(result)
    return 2 if result.get("failed") else 0


def _rows(result: Dict[str, Any], name: str = "") -> Iterator[Tuple[str, Dict[str, Any]]]:
    for case, values in result.get("cases", {}).items():
        yield from _rows(values, case)
    for label, values in result.get("labels", {}).items():
        yield f"{name} label {label}".strip(), values
    if "dice" in result:
        yield name or "all", result


def _print_table(result: Dict[str, Any]) -> None:
    rows = list(_rows(result))
    width = max([4] + [len(name) for name, _ in rows])
    print(
        " ".join(["case".ljust(width)] + [title.rjust(9) for _, title in _COLUMNS] + ["reference ml", "prediction ml"])
    )
    for name, values in rows:
        cells = ["-".rjust(9) if values[key] is None else f"{values[key]:9.4f}" for key, _ in _COLUMNS]
        print(
            " ".join([name.ljust(width), *cells, f"{values['reference_ml']:12.1f}", f"{values['prediction_ml']:13.1f}"])
        )
    for note in result.get("notes", []):
        print(f"note: {note}", file=sys.stderr)
    for key, what in (("failed", "not evaluated"), ("unmatched_predictions", "no reference"),
                      ("unmatched_references", "no prediction")):  # fmt: skip
        entries = result.get(key) or []
        for entry in entries:
            reason = f": {entries[entry]}" if isinstance(entries, dict) else ""
            print(f"{what}: {entry}{reason}", file=sys.stderr)


def _write_text(path: Path, text: str) -> None:
    """The file is whole or absent."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ImageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            os.unlink(temporary)
