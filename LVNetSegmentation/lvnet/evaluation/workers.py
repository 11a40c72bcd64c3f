"""Processing many cases, one after the other or in several processes.

Each process has one case in memory at a time, so `jobs` cases must fit into memory.
"""

from __future__ import annotations

import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Callable, Dict, Mapping, Tuple

from ..errors import ConfigurationError, LVNetError
from ..progress import CancelCheck, Progress, raise_if_cancelled

#: Windows cannot wait for more processes than this at once.
_MOST_JOBS = 61
#: Seconds between checks for cancellation.
_TICK = 0.2


def check_jobs(jobs: int) -> None:
    """Checks the number of processes.

    Raises:
        ConfigurationError: it is less than one.
    """
    if jobs < 1:
        raise ConfigurationError(f"the number of jobs must be 1 or more, not {jobs}")


def run_all(
    work: Callable[[Any], Any],
    tasks: Mapping[Any, Any],
    names: Mapping[Any, str],
    jobs: int,
    progress: Progress,
    cancelled: CancelCheck,
) -> Tuple[Dict[Any, Any], Dict[Any, str]]:
    """Runs every task; one that fails with an :class:`LVNetError` does not stop the others.

    Args:
        work: a function of one argument at module level; it, the tasks and the results must be
            picklable.
        tasks: by key; started in this order.
        names: the name of each task in the progress, by key, for example `evaluating case1`.
        jobs: number of processes; with 1 everything runs in the present process.
        progress: called with the fraction of tasks done.
        cancelled: called before each task, and while waiting.

    Returns:
        Results by key and messages by key, both in the order of the tasks.

    Raises:
        Cancelled: `cancelled` returned True.
        ConfigurationError: a process was killed.
    """
    check_jobs(jobs)
    if jobs == 1 or len(tasks) < 2:
        return _in_this_process(work, tasks, names, progress, cancelled)
    outcomes: Dict[Any, Tuple[Any, str]] = {}
    # Spawned on every system, as on Windows: a forked process would inherit an inconsistent state of this
    # process's threads.
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks), _MOST_JOBS), mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent
    )
    try:
        waiting: Dict[Future[Any], Any] = {pool.submit(_outcome, work, task): key for key, task in tasks.items()}
        while waiting:
            raise_if_cancelled(cancelled)
            done, _ = wait(waiting, timeout=_TICK, return_when=FIRST_COMPLETED)
            for future in done:
                key = waiting.pop(future)
                outcomes[key] = future.result()
                progress(len(outcomes) / len(tasks), names[key])
    except BrokenProcessPool:
        raise ConfigurationError(
            f"one of {jobs} processes was killed, probably for lack of memory; use fewer jobs"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    results = {key: outcomes[key][0] for key in tasks if not outcomes[key][1]}
    return results, {key: outcomes[key][1] for key in tasks if outcomes[key][1]}


def _in_this_process(
    work: Callable[[Any], Any],
    tasks: Mapping[Any, Any],
    names: Mapping[Any, str],
    progress: Progress,
    cancelled: CancelCheck,
) -> Tuple[Dict[Any, Any], Dict[Any, str]]:
    results, failed = {}, {}
    for number, (key, task) in enumerate(tasks.items()):
        raise_if_cancelled(cancelled)
        progress(number / len(tasks), names[key])
        result, message = _outcome(work, task)
        if message:
            failed[key] = message
        else:
            results[key] = result
    return results, failed


def _outcome(work: Callable[[Any], Any], task: Any) -> Tuple[Any, str]:
    try:
        return work(task), ""
    except LVNetError as error:
        return None, str(error) or type(error).__name__


def _leave_interrupts_to_the_parent() -> None:
    # Ctrl-C reaches every process of a terminal; only the parent reports it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
