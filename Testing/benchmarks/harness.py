"""Shared code of all benchmarks: one process per configuration, medians, JSON and a Markdown table.

A benchmark script calls :func:`main`.  Each configuration is measured in its own child process, so that it cannot
profit from memory or threads that another has set up, and so that the allocator can be set before the process starts.
The configurations are measured alternately over several rounds, so that a slowdown of the machine affects all of them
and their ratios stay valid.  Ctrl-C, or the end of `--minutes`, stops the run; the table then shows what was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from session import Session, say

ROOT = Path(__file__).resolve().parents[2]
#: This checkout is measured, even if another version is installed.
SOURCES = [str(ROOT / "LVNetSegmentation"), str(ROOT / "training")]
sys.path[:0] = SOURCES

#: glibc keeps freed memory for the next tensors, in large pages, as `lvnet.acceleration.allocator` sets it in our own
#: processes.
ALLOCATORS: Dict[str, Dict[str, str]] = {
    "default": {},
    "tuned": {
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "18446744073709551615",
        "MALLOC_TOP_PAD_": "67108864",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    },
}
#: Makes PyTorch and our kernels work without AVX-512, as on most desktop processors.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
MARK = "measured: "

#: Exit code of a benchmark that was stopped with Ctrl-C, as usual for command-line programs.
INTERRUPTED = 130

Task = Dict[str, Any]
Measure = Callable[[Task], Dict[str, Any]]


#: The current run of this process.
_now: Dict[str, Session] = {"session": Session()}


class MeasurementError(RuntimeError):
    """A child process ended without a measurement; the message gives the reason."""


class NothingMeasuredError(RuntimeError):
    """Nothing was measured, so there is no table; the message gives the reason."""


def main(
    script: str,
    measure: Measure,
    run: Callable[[argparse.Namespace], Dict[str, Any]],
    options: Callable[[argparse.ArgumentParser], None],
    table: Callable[[Mapping[str, Any]], str],
    arguments: Optional[Sequence[str]] = None,
    *,
    minutes: Optional[float] = None,
) -> int:
    """The command line of a benchmark: runs the whole benchmark, or one task in a child process.

    Args:
        script: the file of the benchmark.
        measure: measures one task; called in a child process.
        run: measures everything and returns what the table needs, including reasons for missing measurements.  If its
            result has errors under `wrong`, the exit code is 1.
        options: adds options to the shared ones.
        table: makes the table.
        arguments: of the command line.
        minutes: default of `--minutes`; None: no limit.
    """
    parser = argparse.ArgumentParser(description=sys.modules[measure.__module__].__doc__)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the measurements here, each as soon as it is there")
    limit = "none" if minutes is None else f"{minutes:g}, so that it takes less than five"
    parser.add_argument(
        "--minutes", type=float, default=minutes, help=f"begin no measurement that would end later; default: {limit}"
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, not how fast")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every process; default: all cores")
    parser.add_argument("--avx2", action="store_true", help="measure without AVX-512, whatever this processor has")
    options(parser)
    chosen = parser.parse_args(arguments)
    if chosen.avx2:
        os.environ.update(AVX2)  # of every child
    if chosen.task:
        print(MARK + json.dumps(measure(json.loads(chosen.task)), allow_nan=False))
        return 0
    head = {
        "benchmark": Path(script).stem,
        "command": "python " + " ".join([os.path.relpath(script, ROOT), *(arguments or sys.argv[1:])]),
        "machine": machine(chosen.threads),
        "quick": chosen.quick,
    }
    session = _now["session"] = Session(chosen.json, chosen.minutes, head)
    try:
        found = run(chosen)
    except NothingMeasuredError as error:
        print(f"{Path(script).stem}: nothing to report: {error}", file=sys.stderr)
        return INTERRUPTED if session.interrupted else 1
    result = {**head, **found, "finished": not session.stopped, "stopped": session.stopped}
    session.write(result)
    print(table(result))
    return INTERRUPTED if session.interrupted else int(bool(result.get("wrong")))


def child(
    script: str,
    task: Task,
    threads: int,
    allocator: str = "default",
    extra: Optional[Mapping[str, str]] = None,
    limit: Optional[float] = None,
) -> Dict[str, Any]:
    """Measures one task in its own process.

    Args:
        script: the file of the benchmark.
        task: the argument of its `measure` function.
        threads: number of threads of the process.
        allocator: setting of the C library's allocator, a key of ALLOCATORS.
        extra: additional environment variables.
        limit: seconds after which the process and its children are killed; None: no limit.

    Raises:
        MeasurementError: the process ended without a measurement, or was killed.
    """
    command = [sys.executable, script, "--task", json.dumps(task)]
    done = _run(command, environment(threads, allocator, extra), limit)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        reason = "killed, most likely for its memory" if done.returncode == -9 else last
        raise MeasurementError(f"exit code {done.returncode}: {reason}")
    return json.loads(lines[-1][len(MARK) :])


def _run(command: List[str], variables: Dict[str, str], limit: Optional[float]) -> subprocess.CompletedProcess:
    if limit is None:
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    # The child gets its own process group, so that compilers it has started are killed too and hold no pipe open.
    process = subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, told = process.communicate(timeout=max(1.0, limit))
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"took longer than {limit:.0f} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, out, told)


def environment(threads: int, allocator: str = "default", extra: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """The environment of a child: this checkout, the number of threads, the allocator, nothing from other runs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "LVNET_ACCELERATION"}
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
    path = os.pathsep.join([*SOURCES, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**kept, **counts, "PYTHONPATH": path, **ALLOCATORS[allocator], **(extra or {})}


def in_turns(
    configurations: Mapping[str, Callable[[], Dict[str, Any]]], rounds: int
) -> Tuple[Dict[str, List[Dict[str, Any]]], Dict[str, str]]:
    """Measures every configuration once per round, one after the other.

    Returns:
        The measurements by configuration, and the reasons for those that failed or were skipped.
    """
    found: Dict[str, List[Dict[str, Any]]] = {name: [] for name in configurations}
    failed: Dict[str, str] = {}
    session = _now["session"]
    for number in range(rounds):
        for name, run in configurations.items():
            if name in failed:
                continue
            try:
                measured = session.measure(name, run, f"round {number + 1} of {rounds}")
            except MeasurementError as error:
                failed[name] = str(error)
                say(f"  {name} failed: {error}")
            else:
                found[name] += [] if measured is None else [measured]
    failed.update({name: session.stopped for name, runs in found.items() if not runs and name not in failed})
    return {name: runs for name, runs in found.items() if name not in failed}, failed


def stopped() -> str:
    """Why this run measures nothing more; empty while it continues."""
    return _now["session"].stopped


def seconds_left() -> Optional[float]:
    """Seconds until the end of `--minutes`; None without a limit."""
    return _now["session"].seconds_left()


def seconds_of(work: Callable[[], Any], repeats: int, warm_up: int = 1, device: str = "cpu") -> List[float]:
    """Seconds of each run of a piece of work, after warm-up runs that are not counted."""
    wait = _waiting(device)
    times = []
    for number in range(warm_up + repeats):
        wait()
        began = time.perf_counter()
        work()
        wait()
        if number >= warm_up:
            times.append(time.perf_counter() - began)
    return times


def _waiting(device: str) -> Callable[[], None]:
    if not device.startswith("cuda"):
        return lambda: None
    import torch

    return torch.cuda.synchronize


def median(runs: Sequence[Mapping[str, Any]], key: str = "seconds") -> float:
    """The median over all rounds; a measurement may be a number or a list of numbers."""
    values: List[float] = []
    for run in runs:
        values += run[key] if isinstance(run[key], list) else [run[key]]
    return statistics.median(values)


def spread(runs: Sequence[Mapping[str, Any]], key: str = "seconds") -> Tuple[float, float]:
    """The smallest and the largest measurement."""
    values: List[float] = []
    for run in runs:
        values += run[key] if isinstance(run[key], list) else [run[key]]
    return min(values), max(values)


def machine(threads: int) -> Dict[str, Any]:
    """Describes the machine and the software versions."""
    facts: Dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "commit": _commit(),
        # The load average of the last minute, before the benchmark began: shows other programs' use of the machine.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    for package in ("torch", "numba", "triton", "numpy"):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            facts[package] = None
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    try:
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]], result: Mapping[str, Any]) -> str:
    """A table for the README, with the machine below."""
    facts = result["machine"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines += [
        "",
        f"`{result['command']}`, {facts['processor']}, {facts['threads']} threads, PyTorch {facts['torch']}"
        + (", quick: the sizes are too small to say anything" if result["quick"] else "")
        + ".",
    ]
    return "\n".join(lines)


def size_of(text: str) -> Tuple[int, ...]:
    """Parses 1x16x256x256 as (1, 16, 256, 256)."""
    size = tuple(int(part) for part in text.split("x"))
    if len(size) != 4 or min(size) < 1:
        raise argparse.ArgumentTypeError("give batch x depth x height x width, as in 1x16x256x256")
    return size
