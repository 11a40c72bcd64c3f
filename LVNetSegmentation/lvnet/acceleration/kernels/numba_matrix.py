"""Numba kernels for products of small matrices and rows of voxels, parts of those of :mod:`.numba_pointwise`.

A row holds the channels of one voxel.  Weights are read from the caches, sums stay in registers, and meanwhile the
next rows are fetched from memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable

import numba
from numba.core import types

from ..layout.workspace import columns_together
from .vector_code import Loop, VectorCode, intrinsic


def _signature(arguments: int) -> Any:
    return types.void(*[types.int64] * arguments)


@lru_cache(maxsize=8)
def row_products(
    lanes: int, begun: bool = False, measured: bool = False, streamed: bool = False
) -> Callable[..., None]:
    """A function of rows x (count, depth) and weights (depth, results), from code that Numba compiles.

    Its arguments are the addresses of x, weights, the output, what the output begins with, the pivot and the sums,
    then count, depth and results, and the address and number of bytes to prefetch.  Rows are contiguous; the number of
    results is a multiple of `lanes`.

    Args:
        lanes: float32 values of a vector.
        begun: the products are added to other rows instead of to zero.
        measured: the output minus a pivot, and the square of that, are added to two rows of sums.
        streamed: the output bypasses the caches; it must be aligned to a vector.
    """
    size = 4 * lanes

    def product(rows: int, vectors: int) -> Any:
        @intrinsic
        def multiply(typing: Any, x: Any, weights: Any, out: Any, begin: Any, pivot: Any, sums: Any, depth: Any,
                     results: Any, ahead: Any, pace: Any) -> Any:  # fmt: skip
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                x, weights, out, begin, pivot, sums, depth, results, ahead, pace = arguments
                row, apart = code.times(depth, 4), code.times(results, 4)
                sources = [code.offset(x, code.times(row, v)) for v in range(rows)]
                steps = [code.times(apart, v) for v in range(rows)]
                zero = code.splat(0.0)
                start = [
                    code.load(code.offset(begin, step), c * size) if begun else zero
                    for step in steps
                    for c in range(vectors)
                ]
                loop = Loop(builder, depth, start)
                line = code.offset(weights, builder.mul(apart, loop.index))
                columns = [code.load(line, c * size) for c in range(vectors)]
                here = code.times(loop.index, 4)
                code.prefetch(code.offset(ahead, builder.mul(loop.index, pace)))
                totals = list(loop.values)
                for v, source in enumerate(sources):
                    number = code.broadcast(code.offset(source, here))
                    for c in range(vectors):
                        i = v * vectors + c
                        totals[i] = code.multiply_add(number, columns[c], totals[i])
                totals = loop.close(totals)
                for v, step in enumerate(steps):
                    for c in range(vectors):
                        keep = code.stream if streamed else code.store
                        keep(totals[v * vectors + c], code.offset(out, step), c * size)
                for c in range(vectors if measured else 0):
                    squares_at = code.offset(sums, apart)
                    middle = code.load(pivot, c * size)
                    total, squares = code.load(sums, c * size), code.load(squares_at, c * size)
                    for v in range(rows):
                        value = code.subtract(totals[v * vectors + c], middle)
                        total, squares = code.add(total, value), code.multiply_add(value, value, squares)
                    code.store(total, sums, c * size)
                    code.store(squares, squares_at, c * size)
                return context.get_dummy_value()

            return _signature(10), generate

        return multiply

    together = columns_together(lanes)
    many_two, many_one = product(together, 2), product(together, 1)
    one_two, one_one = product(1, 2), product(1, 1)

    @numba.njit
    def multiply_rows(x, weights, out, begin, pivot, sums, count, depth, results, ahead, ahead_bytes):
        row, apart = depth * 4, results * 4
        whole = count - count % together
        pairs = apart - apart % (2 * size)
        pace = ahead_bytes * together * 2 * size // (count * apart * depth) + 1
        for v in range(0, whole, together):
            a, b, s = x + v * row, out + v * apart, begin + v * apart
            for c in range(0, pairs, 2 * size):
                many_two(a, weights + c, b + c, s + c, pivot + c, sums + c, depth, results, ahead, pace)
                ahead += pace * depth
            if pairs < apart:
                c = pairs
                many_one(a, weights + c, b + c, s + c, pivot + c, sums + c, depth, results, ahead, pace)
                ahead += pace * depth
        for v in range(whole, count):
            a, b, s = x + v * row, out + v * apart, begin + v * apart
            for c in range(0, pairs, 2 * size):
                one_two(a, weights + c, b + c, s + c, pivot + c, sums + c, depth, results, ahead, pace)
            if pairs < apart:
                c = pairs
                one_one(a, weights + c, b + c, s + c, pivot + c, sums + c, depth, results, ahead, pace)

    return multiply_rows


@lru_cache(maxsize=2)
def outer_products(lanes: int) -> Callable[..., None]:
    """A function that adds a^T b to sums, from code that Numba compiles.

    Its arguments are the addresses of a (count, narrow), b (count, wide) and the sums (narrow, wide), then count,
    narrow and wide, and the address and number of bytes to prefetch.  Rows are contiguous; `narrow` is a multiple of
    8, `wide` one of 2 `lanes`.
    """
    size, vectors = 4 * lanes, 2
    rows = 8 if lanes == 16 else 4

    @intrinsic
    def add_products(typing: Any, a: Any, b: Any, sums: Any, count: Any, narrow: Any, wide: Any,
                     ahead: Any, pace: Any) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            a, b, sums, count, narrow, wide, ahead, pace = arguments
            apart = code.times(wide, 4)
            places = [code.offset(sums, code.times(apart, r)) for r in range(rows)]
            loop = Loop(builder, count, [code.load(place, c * size) for place in places for c in range(vectors)])
            left = code.offset(a, builder.mul(loop.index, code.times(narrow, 4)))
            right = code.offset(b, builder.mul(loop.index, apart))
            columns = [code.load(right, c * size) for c in range(vectors)]
            code.prefetch(code.offset(ahead, builder.mul(loop.index, pace)))
            totals = list(loop.values)
            for r in range(rows):
                number = code.broadcast(left, 4 * r)
                for c in range(vectors):
                    totals[r * vectors + c] = code.multiply_add(number, columns[c], totals[r * vectors + c])
            for i, total in enumerate(loop.close(totals)):
                code.store(total, places[i // vectors], i % vectors * size)
            return context.get_dummy_value()

        return _signature(8), generate

    @numba.njit
    def add_outer(a, b, sums, count, narrow, wide, ahead, ahead_bytes):
        pace = ahead_bytes * rows * vectors * size // (narrow * wide * 4 * count) + 1
        for r in range(0, narrow, rows):
            for c in range(0, wide * 4, vectors * size):
                add_products(a + r * 4, b + c, sums + r * wide * 4 + c, count, narrow, wide, ahead, pace)
                ahead += pace * count

    return add_outer
