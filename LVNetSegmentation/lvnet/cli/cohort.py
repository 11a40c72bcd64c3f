"""`lvnet segment` for many scans, with records that allow resuming and splitting the work among processes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ..batch import Job, Plan
from ..checkpoint import BUNDLED_WEIGHTS
from ..cohort import Ledger, Shard, State
from ..cohort.rows import table_of
from ..errors import ConfigurationError, ImageError, LVNetError
from ..files import sha256_of, write_whole
from ..image_io import list_scans
from ..image_io.names import shown
from ..pipeline.report import failure
from ..system import available_memory, usable_cores
from .terminal import ProgressBar, json_text, one_line, printable

TABLE, PAGE = "cohort.csv", "cohort.html"
#: Memory budget for one process, for `--jobs auto`: PyTorch, a large scan, and its result.
_BYTES_A_PROCESS = 4e9
#: Cores beyond which one scan hardly gets faster.
_CORES_A_PROCESS = 4
_TICK_SECONDS = 0.2

#: Segments one scan; returns what `--json` prints for it, and a picture.
SegmentOne = Callable[[Job, str], Tuple[Dict[str, Any], Optional[bytes]]]


def asked_for(options: argparse.Namespace) -> bool:
    """Whether records are to be kept."""
    return bool(options.resume or options.retry_failed or options.shard or options.jobs)


def run_cohort(
    options: argparse.Namespace, planned: Plan, settings: Dict[str, Any], make_segment_one: Callable[[], SegmentOne]
) -> int:
    """Segments the scans that are not done yet, each exactly once, even with other processes at work.

    Args:
        options: the command line's arguments.
        planned: all scans of all shards.
        settings: the settings that affect results, besides the scan and the weights.
        make_segment_one: loads the network; only called if there is something to do.
    """
    if not planned.batch:
        raise ConfigurationError("--resume, --shard and --jobs need an output folder, because they keep records there")
    shard = Shard.parse(options.shard) if options.shard else Shard()
    processes = processes_for(options.jobs)
    results = planned.jobs[0].target.parent
    ledger = Ledger(results, _checksum(options.weights), settings)
    jobs = shard.of(planned.jobs)
    states = [ledger.state(job) for job in jobs]
    wanted = (State.NEW, State.FAILED) if options.retry_failed else (State.NEW,)
    todo = [job for job, state in zip(jobs, states) if state in wanted]
    if options.member:
        _end_with_the_parent()
    elif not options.quiet:
        share = f" of shard {shard.number}/{shard.total}" if shard.total > 1 else ""
        print(f"lvnet: {len(todo)} of {len(jobs)} scans{share} to segment", file=sys.stderr)
    if todo and min(processes, len(todo)) > 1:
        _share_out(options, ledger, todo, min(processes, len(todo)))
    elif todo:
        _work_through(options, ledger, todo, wanted, make_segment_one())
    if options.member:
        return 0
    if not todo or ledger.count():
        write_tables(ledger, planned)
    return _report(options, ledger, jobs, planned, shard, sum(state is State.DONE for state in states))


def processes_for(text: Optional[str]) -> int:
    """The number of processes for `--jobs`; `auto` depends on cores and memory.

    Raises:
        ConfigurationError: it is neither `auto` nor a number from 1 to 1024.
    """
    if text is None:
        return 1
    if text == "auto":
        memory = available_memory()
        by_memory = usable_cores() if memory is None else int(memory / _BYTES_A_PROCESS)
        return max(1, min(usable_cores() // _CORES_A_PROCESS, by_memory))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise ConfigurationError(f"--jobs must be a number from 1 to 1024 or auto, not {text!r}")
    return int(text)


def _checksum(weights: Optional[str]) -> str:
    path = Path(weights) if weights else BUNDLED_WEIGHTS
    try:
        return sha256_of(path)
    except OSError as error:
        raise ImageError(f"cannot read the weights {shown(path)}: {error.strerror}; check the path") from error


def _work_through(
    options: argparse.Namespace, ledger: Ledger, todo: Sequence[Job], wanted: Sequence[State], segment_one: SegmentOne
) -> None:
    for number, job in enumerate(todo):
        with ledger.claimed(job) as ours:
            # Another process may be working on it, or may have finished it in the meantime.
            if not ours or ledger.state(job) not in wanted:
                continue
            picture = None
            try:
                result, picture = segment_one(job, f"{number + 1}/{len(todo)} ")
            except LVNetError as error:
                print(one_line(f"lvnet: {job.scan.path.name}: {error}"), file=sys.stderr)
                result = {**failure(job.scan.path, error), "error": one_line(error)}
            ledger.write(job, result, picture)


def _share_out(options: argparse.Namespace, ledger: Ledger, todo: Sequence[Job], processes: int) -> None:
    """Runs several processes that each take one scan after the other; they end when this one does."""
    threads = options.threads or max(1, usable_cores() // processes)
    command = [sys.executable, "-m", "lvnet", *options.given, "--resume", "--member", "--quiet", "--jobs", "1"]
    command += ["--threads", str(threads)]
    members = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(processes)]
    before = ledger.count()
    try:
        with ProgressBar("", None if not options.quiet else False) as bar:
            while any(member.poll() is None for member in members):
                done = min(len(todo), max(0, ledger.count() - before))
                bar(done / len(todo), f"{done} of {len(todo)} scans, {processes} processes")
                _wait(members)
    finally:
        for member in members:
            if member.poll() is None:
                member.terminate()
        for member in members:
            member.wait()
            assert member.stdin is not None
            member.stdin.close()
    ended = [member.returncode for member in members if member.returncode != 0]
    if ended:
        raise ConfigurationError(
            f"{len(ended)} of {processes} processes ended early (code {ended[0]}), perhaps for lack of memory; finished"
            " scans are kept: run the same command again with fewer --jobs"
        )


def _wait(members: Sequence[Any]) -> None:
    for member in members:
        if member.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                member.wait(_TICK_SECONDS)
            return


def _end_with_the_parent() -> None:
    """Ends this process when its parent has ended, for whatever reason."""

    def watch() -> None:
        # Nothing is ever written to this pipe; it closes with the parent.  os.read avoids Python's buffered reader,
        # whose lock this thread would still hold at exit.
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_tables(ledger: Ledger, planned: Plan) -> None:
    """Writes the table and the HTML page of all records, whichever process wrote them.

    Raises:
        ImageError: they cannot be written.
    """
    from ..cohort.page import page_of  # imports the charts of reports, which a single scan does without

    with ledger.tables():
        results = ledger.results_so_far()
        left_out = [f"{one.path.name}: {one.reason}" for one in planned.left_out]
        page = page_of(results, f"Cohort {ledger.results.resolve().name}", left_out, ledger.picture_of)
        try:
            for name, data in ((TABLE, table_of(results)), (PAGE, page)):
                write_whole(ledger.results / name, data)
        except OSError as error:
            raise ImageError(f"cannot write {ledger.results / name}: {error.strerror}") from error


def _report(
    options: argparse.Namespace, ledger: Ledger, jobs: Sequence[Job], planned: Plan, shard: Shard, before: int
) -> int:
    results = [result for job in jobs if (result := ledger.result(job)) is not None]
    failed = sum(result.get("error") is not None for result in results)
    if options.json:
        print(json_text([*results, *planned.left_out_entries()]))
    if not options.quiet:
        said = f"{len(results) - failed} of {len(jobs)} scans are segmented, {before} of them in earlier runs"
        if failed:
            said += f"; {failed} failed (try them again with --retry-failed)"
        missing = len(jobs) - len(results)
        if missing:
            said += f"; {missing} are being segmented by other processes"
        if planned.left_out:
            said += f"; {len(planned.left_out)} left out, see {PAGE}"
        print(one_line(f"lvnet: {said}"), file=sys.stderr)
        print(one_line(f"lvnet: all results are listed in {ledger.results / TABLE} and {PAGE}"), file=sys.stderr)
    return 2 if failed else 0


def run_list(options: argparse.Namespace, planned: Plan) -> int:
    """Prints what would be segmented, and to which file, without segmenting anything."""
    jobs = (Shard.parse(options.shard) if options.shard else Shard()).of(planned.jobs)
    entries: List[Dict[str, Any]] = [
        {"input": str(job.scan.path), "output": str(job.target), "series": _series_of(job)} for job in jobs
    ]
    if options.json:
        print(json_text([*entries, *planned.left_out_entries()]))
        return 0
    for entry in entries:
        print(printable(f"{entry['input']} -> {entry['output']}"))
        series = entry["series"]
        if series is not None and "error" in series:
            print(printable(f"    {series['error']}"))
        elif series is not None:
            more = f"; {series['others']} more in the study" if series["others"] else ""
            words = ", ".join(part for part in (series["description"], series["words"]) if part)
            print(printable(f"    series {series['series']}, {series['slices']} slices, {words}{more}"))
    for one in planned.left_out:
        print(printable(f"left out: {one.path}: {one.reason}"))
    return 0


def _series_of(job: Job) -> Optional[Dict[str, Any]]:
    """The series that would be segmented in a DICOM study."""
    if not os.path.isdir(job.scan.path):
        return None
    try:
        found = list_scans(job.scan.path, files=job.scan.files)["scans"]
    except LVNetError as error:
        return {"error": one_line(error)}
    taken = {key: found[0][key] for key in ("series", "uid", "description", "words", "slices", "slice_distance_mm")}
    return {**taken, "others": len(found) - 1}
