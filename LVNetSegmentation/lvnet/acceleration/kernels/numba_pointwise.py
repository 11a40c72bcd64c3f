"""Numba kernels for the 1x1x1 convolutions of an IRB block in training, channels-last, fused with what surrounds them.

Rows (voxels) pass through a kernel in chunks that stay in the cache; tensors as wide as the middle of the IRB block are
read or written once each.  Each thread computes blocks of rows, each of them in a fixed order, so that results do not
depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence

from numba.core import types

from ..layout.workspace import CHUNK_ROWS, WIDEST
from .native import Kernel
from .numba_matrix import outer_products, row_products
from .numba_winograd import winograd_kernels
from .vector_code import Loop, VectorCode, intrinsic, stack_memory, word


def functions(lanes: int) -> Dict[str, Kernel]:
    """The kernels for vectors of `lanes` float32, not yet compiled; see :class:`.catalogue.PointwiseKernels`."""
    size = 4 * lanes
    fill = winograd_kernels(lanes).fill
    expand_rows = row_products(lanes, measured=True, streamed=True)
    project_rows = row_products(lanes, measured=True)
    widen_rows = row_products(lanes)
    narrow_rows = row_products(lanes, begun=True)
    add_outer = outer_products(lanes)
    chunk = stack_memory(4 * CHUNK_ROWS * WIDEST)

    def elementwise(tensors: int, parameters: int, step: Callable[..., Sequence[Any]], sums: int = 0) -> Any:
        """Two functions that apply `step` to one row, some vectors at a time: for an even number of vectors, and any.

        Their arguments are the addresses of the tensors, of the parameters (rows of `channels` numbers) and of the
        sums, if there are any; then the number of channels.
        """

        def over_row(together: int) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                places, values, totals_at = arguments[:tensors], arguments[tensors], arguments[tensors + 1]
                apart = code.times(arguments[-1], 4)
                loop = Loop(builder, builder.udiv(apart, word(together * size)), [])
                here = code.times(loop.index, together * size)
                for k in range(together):
                    at = [code.offset(values, here, code.times(apart, i)) for i in range(parameters)]
                    totals = [code.offset(totals_at, here, code.times(apart, j)) for j in range(sums)]
                    rows = [code.offset(place, here, k * size) for place in places]
                    before = [code.load(place, k * size) for place in totals]
                    after = step(code, [code.load(place, k * size) for place in at], rows, before)
                    for place, total in zip(totals, after):
                        code.store(total, place, k * size)
                loop.close([])
                return context.get_dummy_value()

            return _of_words(tensors + 2 + bool(sums), generate)

        return over_row(2), over_row(1)

    def norm_elu(code: VectorCode, constants: Any, rows: Any, _: Any) -> Any:
        code.store(code.elu(code.multiply_add(code.load(rows[0]), constants[0], constants[1])), rows[1])
        return []

    def norm_gradient(code: VectorCode, constants: Any, rows: Any, _: Any) -> Any:
        mean, a, b, c = constants
        centred = code.subtract(code.load(rows[0]), mean)
        code.store(code.multiply_add(code.load(rows[1]), a, code.multiply_add(centred, b, c)), rows[2])
        return []

    def elu_and_gradient(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
        """Tensors z, gradient w.r.t. ELU's output, ELU (written), gradient w.r.t. its input (written)."""
        z = code.load(rows[0])
        x = code.multiply_add(z, constants[0], constants[1])
        slope = code.exp_below_zero(x)
        code.store(code.larger(x, code.subtract(slope, code.splat(1.0))), rows[2])
        gradient = code.multiply(code.load(rows[1]), slope)
        code.stream(gradient, rows[3])
        return [
            code.add(sums[0], gradient),
            code.multiply_add(gradient, code.subtract(z, constants[2]), sums[1]),
        ]

    activate, _ = elementwise(2, 2, norm_elu)
    adjust, adjust_any = elementwise(3, 4, norm_gradient)
    pull, _ = elementwise(4, 3, elu_and_gradient, 2)

    def expand(x, weights, out, pivot, sums, rows, per, channels, wide, first, last):
        for block in range(first, last):
            target = sums + block * 2 * wide * 4
            fill(target, 2 * wide // lanes)
            end = min(rows, (block + 1) * per)
            for start in range(block * per, end, CHUNK_ROWS):
                count = min(CHUNK_ROWS, end - start)
                source = x + start * channels * 4
                expand_rows(source, weights, out + start * wide * 4, 0, pivot, target, count, channels, wide, 0, 0)

    def project(z, values, weights, out, pivot, sums, rows, per, channels, wide, first, last):
        row = wide * 4
        elu = chunk()
        for block in range(first, last):
            target = sums + block * 2 * channels * 4
            fill(target, 2 * channels // lanes)
            end = min(rows, (block + 1) * per)
            for start in range(block * per, end, CHUNK_ROWS):
                count = min(CHUNK_ROWS, end - start)
                source = z + start * row
                for v in range(count):
                    activate(source + v * row, elu + v * row, values, wide)
                project_rows(elu, weights, out + start * channels * 4, 0, pivot, target, count, wide, channels,
                             source + count * row, count * row)  # fmt: skip

    def project_back(
        p, gradient, norm, z, values, weights, out, sums, products, rows, per, channels, wide, first, last
    ):
        row, thin = wide * 4, channels * 4
        elu, pulled, of_p = chunk(), chunk(), chunk()
        for block in range(first, last):
            target, outer = sums + block * 2 * row, products + block * channels * row
            fill(target, 2 * wide // lanes)
            fill(outer, channels * wide // lanes)
            end = min(rows, (block + 1) * per)
            for start in range(block * per, end, CHUNK_ROWS):
                count = min(CHUNK_ROWS, end - start)
                for v in range(count):
                    at = (start + v) * thin
                    adjust_any(p + at, gradient + at, of_p + v * thin, norm, channels)
                widen_rows(of_p, weights, pulled, 0, 0, 0, count, channels, wide, 0, 0)
                for v in range(count):
                    at = (start + v) * row
                    pull(z + at, pulled + v * row, elu + v * row, out + at, values, target, wide)
                add_outer(of_p, elu, outer, count, channels, wide, z + (start + count) * row, count * row)

    def expand_back(y, gradient, norm, x, weights, begin, out, products, rows, per, channels, wide, first, last):
        row, thin = wide * 4, channels * 4
        of_y = chunk()
        for block in range(first, last):
            outer = products + block * channels * row
            fill(outer, channels * wide // lanes)
            end = min(rows, (block + 1) * per)
            for start in range(block * per, end, CHUNK_ROWS):
                count = min(CHUNK_ROWS, end - start)
                for v in range(count):
                    at = (start + v) * row
                    adjust(y + at, gradient + at, of_y + v * row, norm, wide)
                small = start * thin
                narrow_rows(of_y, weights, out + small, begin + small, 0, 0, count, wide, channels,
                            y + (start + count) * row, count * row)  # fmt: skip
                add_outer(x + small, of_y, outer, count, channels, wide, gradient + (start + count) * row, count * row)

    return {"expand": expand, "project": project, "project_back": project_back, "expand_back": expand_back}


def _of_words(count: int, generate: Callable[..., Any]) -> Any:
    """An intrinsic of `count` 64-bit integers; Numba needs their number in the function's signature."""
    signature = types.void(*[types.int64] * count)
    if count == 4:

        @intrinsic
        def four(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
            return signature, generate

        return four
    if count == 5:

        @intrinsic
        def five(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
            return signature, generate

        return five

    @intrinsic
    def seven(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any) -> Any:
        return signature, generate

    return seven
