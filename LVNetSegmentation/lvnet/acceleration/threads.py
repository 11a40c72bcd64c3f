"""Distributes work over plain threads."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Callable, Sequence


def run_jobs(jobs: Sequence[Any], work: Callable[[Any], None], threads: int) -> None:
    """Calls `work` for every job; a thread that has finished one job takes the next.

    The kernels release the GIL, so plain threads are enough, and the thread pools of a host program
    are left alone.
    """
    if threads <= 1 or len(jobs) <= 1:
        for job in jobs:
            work(job)
        return
    numbers = itertools.count()  # next() on it is atomic

    def run() -> None:
        while True:
            number = next(numbers)
            if number >= len(jobs):
                return
            work(jobs[number])

    helpers = [_pool().submit(run) for _ in range(min(threads, len(jobs)) - 1)]
    run()
    for helper in helpers:
        helper.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """The thread pool; threads start when first needed and use no CPU time while they wait."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="lvnet")


def run_parts(kernel: Callable[..., None], rows: int, threads: int, *arguments: Any) -> None:
    """Splits the rows of a kernel among threads; its last two arguments are the first row and the last + 1."""
    count = min(rows, 4 * threads)
    edges = [rows * i // count for i in range(count + 1)]
    run_jobs(list(zip(edges[:-1], edges[1:])), lambda part: kernel(*arguments, *part), threads)
