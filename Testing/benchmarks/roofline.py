"""Measures the peak performance of a processor: vector instructions and memory bandwidth with all threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, NamedTuple

import numpy as np


class Roofline(NamedTuple):
    """The limits of a machine.

    Attributes:
        lanes: float32 numbers in one vector register.
        instructions: fused multiply-adds on whole vectors per second, by all threads together.
        bytes: bytes read from or written to memory per second, by all threads together.
    """

    lanes: int
    instructions: float
    bytes: float

    def seconds(self, instructions: float, traffic: float) -> float:
        """The shortest possible time for this number of vector instructions and bytes of memory traffic."""
        return max(instructions / self.instructions, traffic / self.bytes)


def measure_roofline(threads: int, seconds: float = 0.4) -> Roofline:
    """Measures the limits, each for about `seconds`."""
    from lvnet.acceleration.kernels.processor import register_lanes

    lanes = register_lanes()
    return Roofline(lanes, _instructions(lanes, threads, seconds), _bytes(threads, seconds))


def _instructions(lanes: int, threads: int, seconds: float) -> float:
    import numba
    from lvnet.acceleration.kernels.vector_code import Loop, VectorCode, intrinsic
    from numba.core import types

    # Independent sums: enough to hide a latency of four cycles at two per cycle; they fit into 16 registers.
    sums = 12

    @intrinsic
    def multiply_adds(typing: Any, numbers: Any, turns: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            numbers, turns = arguments
            factor, step = code.splat(0.999), code.splat(0.001)
            loop = Loop(builder, turns, [code.load(numbers, 4 * lanes * i) for i in range(sums)])
            for i, value in enumerate(loop.close([code.multiply_add(value, factor, step) for value in loop.values])):
                code.store(value, numbers, 4 * lanes * i)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    @numba.njit(nogil=True)
    def work(numbers: int, turns: int) -> None:
        multiply_adds(numbers, turns)

    # Different numbers in every vector, so that the compiler cannot merge the sums.
    inputs = [np.arange(sums * lanes, dtype=np.float32) for _ in range(threads)]
    turns = 1_000_000
    work(inputs[0].ctypes.data, turns)
    rate = _best(lambda number: work(inputs[number].ctypes.data, turns), threads, seconds)
    return rate * turns * sums


def _bytes(threads: int, seconds: float) -> float:
    # Larger than the caches.
    pairs = [(np.ones(16_000_000, np.float32), np.zeros(16_000_000, np.float32)) for _ in range(threads)]
    rate = _best(lambda number: np.copyto(pairs[number][1], pairs[number][0]), threads, seconds)
    return rate * 2 * pairs[0][0].nbytes


def _best(work: Callable[[int], None], threads: int, seconds: float) -> float:
    """Calls of `work` per second, by all threads together, in the fastest round."""
    rounds: List[float] = []
    with ThreadPoolExecutor(threads) as pool:
        end = time.perf_counter() + seconds
        while not rounds or time.perf_counter() < end:
            began = time.perf_counter()
            list(pool.map(work, range(threads)))
            rounds.append(threads / (time.perf_counter() - began))
    return max(rounds)
