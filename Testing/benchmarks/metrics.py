"""Speed of DICE, ASSD and MSSD compared with other tools, in one run.

    python Testing/benchmarks/metrics.py [--cases A B A-islands B-islands] [--tools ...] [--medpy] [--json FILE]

Every tool runs in its own process, one after the other, on the same masks.  The time is the best of a few calls,
without imports; the memory is how far the process grew beyond the masks during the first call.  MedPy takes minutes
and is left out by default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from metrics_masks import CASES, make_pair
from metrics_peers import SCORERS

OURS = "lvnet"
#: The promised minimum: the speed-up over each peer on a liver without islands, and the megabytes needed beyond
#: the masks.  With islands: faster than each peer.
BARS = {"LiTS scorer's method": 4.0, "surface-distance": 10.0, "MONAI": 24.0, "MedPy": 300.0}
MOST_MB = 100.0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Prints the table; exit code 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description="DICE + ASSD + MSSD against other tools.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=["A", "B", "A-islands", "B-islands"])
    parser.add_argument("--tools", nargs="+", choices=list(SCORERS), help="beside lvnet; default: all but MedPy")
    parser.add_argument("--medpy", action="store_true", help="with MedPy, which takes minutes and gigabytes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here; - prints them alone")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(options.one[0], Path(options.one[1]))))
        return 0
    wanted = options.tools or [name for name in SCORERS if name != "MedPy"]
    tools = [name for name in SCORERS if name in (OURS, *wanted) or (options.medpy and name == "MedPy")]
    results = [compare_tools(name, tools) for name in options.cases]
    report = {"machine": machine(), "cases": results}
    if options.json and str(options.json) != "-":
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2) if options.json and str(options.json) == "-" else table(report))
    return 0 if all(tool["bar_met"] is not False for case in results for tool in case["tools"]) else 1


def compare_tools(name: str, tools: Sequence[str]) -> Dict[str, Any]:
    """Results of every tool on one case."""
    case = CASES[name]
    prediction, reference = make_pair(case)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "prediction.npy"), prediction)
        np.save(Path(folder, "reference.npy"), reference)
        Path(folder, "spacing.json").write_text(json.dumps(case.spacing))
        volume = float(np.count_nonzero(reference) * np.prod(case.spacing) / 1000)
        del prediction, reference
        rows = [in_own_process(tool, folder) for tool in tools]
    ours = rows[0]
    for row in rows:
        row["ratio"] = row["seconds"] / ours["seconds"]
        row["bar"], row["bar_met"] = verdict(row, islands=case.islands)
    return {"case": name, "size": case.size[::-1], "spacing_mm": case.spacing[::-1], "reference_ml": volume,
            "islands": case.islands, "tools": rows}  # fmt: skip


def verdict(row: Dict[str, Any], *, islands: bool) -> tuple:
    """The limit in words, and whether it is met."""
    if row["tool"] == OURS:
        return f"< {MOST_MB:.0f} MB", row["extra_mb"] < MOST_MB
    bar = 1.0 if islands else BARS[row["tool"]]
    return (f"> {bar:g} x" if islands else f">= {bar:g} x"), row["ratio"] >= bar


def in_own_process(tool: str, folder: str) -> Dict[str, Any]:
    command = [sys.executable, os.path.abspath(__file__), "--one", tool, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(tool: str, folder: Path) -> Dict[str, Any]:
    """Runs in the tool's own process."""
    make, repeats = SCORERS[tool]
    score = make()
    prediction, reference = np.load(folder / "prediction.npy"), np.load(folder / "reference.npy")
    spacing = tuple(json.loads((folder / "spacing.json").read_text()))
    # Read the masks once, so that their pages are loaded before memory is measured.
    assert prediction.any() and reference.any()
    before = start_of_peak()
    seconds: List[float] = []
    extra, found = 0.0, (0.0, 0.0, 0.0)
    for number in range(repeats):
        began = time.perf_counter()
        found = score(prediction, reference, spacing)
        seconds.append(time.perf_counter() - began)
        if number == 0:
            extra = peak_mb() - before
    dice, assd, mssd = (float(value) for value in found)
    return {"tool": tool, "seconds": min(seconds), "all_seconds": seconds, "extra_mb": extra, "dice": dice,
            "assd_mm": assd, "mssd_mm": mssd}  # fmt: skip


def start_of_peak() -> float:
    """Resets the record of peak memory; returns the current memory in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_mb()  # other systems cannot reset the peak: the growth may be underestimated
    return status_mb("VmRSS")


def peak_mb() -> float:
    """Peak memory of this process in MB."""
    if Path("/proc/self/status").exists():
        return status_mb("VmHWM")
    import resource

    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def status_mb(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024 / 1e6


def machine() -> Dict[str, Any]:
    """Describes the machine."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("numpy", "scipy", "surface-distance", "monai", "medpy", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version(), **versions}


def table(report: Dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = ["| case | tool | seconds | times slower | extra MB | DICE | ASSD mm | MSSD mm | bar |",
             "|---|---|---:|---:|---:|---:|---:|---:|---|"]  # fmt: skip
    for case in report["cases"]:
        size = "x".join(str(n) for n in case["size"])
        for row in case["tools"]:
            met = "met" if row["bar_met"] else "MISSED"
            lines.append(
                f"| {case['case']} {size} | {row['tool']} | {row['seconds']:.3f} | {row['ratio']:.1f} | "
                f"{row['extra_mb']:.0f} | {row['dice']:.4f} | {row['assd_mm']:.4f} | {row['mssd_mm']:.3f} | "
                f"{row['bar']}: {met} |"
            )
    facts = report["machine"]
    lines += ["", f"{facts['cores']} cores, Python {facts['python']}, NumPy {facts['numpy']}, SciPy {facts['scipy']}"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
