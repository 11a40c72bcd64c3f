"""The same work for many cases, one after the other or in several processes.

Each process holds one case at a time, so the memory is that of `jobs` cases.
"""

from __future__ import annotations

import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, Callable, Dict, Mapping, Tuple

from ..errors import ConfigurationError, LVNetError
from ..progress import CancelCheck, Progress, raise_if_cancelled

#: Windows waits for no more processes than this at once.
_MOST_JOBS = 61
#: Seconds between two looks at whether the user has cancelled.
_TICK = 0.2


def check_jobs(jobs: int) -> None:
    """Refuses a number of processes that makes no sense.

    Raises:
        ConfigurationError: less than one.
    """
    if jobs < 1:
        raise ConfigurationError(f"{jobs} jobs cannot do anything; give 1 or more")


def run_all(
    work: Callable[[Any], Any],
    tasks: Mapping[Any, Any],
    names: Mapping[Any, str],
    jobs: int,
    progress: Progress,
    cancelled: CancelCheck,
) -> Tuple[Dict[Any, Any], Dict[Any, str]]:
    """Does every task; one that fails with an :class:`LVNetError` does not stop the others.

    Args:
        work: a module's function of one argument; it, the tasks and the results travel between
            processes.
        tasks: by key; started in this order.
        names: what to call each task in the progress, by key, for example `evaluating case1`.
        jobs: processes; with 1 everything happens in this one.
        progress: told the share of tasks that are done.
        cancelled: asked before each task, and while waiting.

    Returns:
        Results by key and messages by key, both in the order of the tasks.

    Raises:
        Cancelled: `cancelled` answered True.
        ConfigurationError: a process was ended from outside.
    """
    check_jobs(jobs)
    if jobs == 1 or len(tasks) < 2:
        return _in_this_process(work, tasks, names, progress, cancelled)
    outcomes: Dict[Any, Tuple[Any, str]] = {}
    # Started afresh on every system, as Windows does anyway: a fork would inherit half the state of
    # whatever threads this process runs.
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
            f"one of {jobs} processes was ended, probably for want of memory; ask for fewer jobs"
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
    # Ctrl-C reaches every process of a terminal; one of them is enough to say so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
