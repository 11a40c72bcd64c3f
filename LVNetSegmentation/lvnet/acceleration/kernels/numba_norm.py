"""Numba kernels for batch norm with ELU in training, channels-last, with as few passes over memory as possible.

A tensor consists of rows of C values, one row per voxel.  Rows are summed in blocks of :data:`.layout.BLOCK`,
each by one thread in a fixed order, so that results do not depend on the number of threads.  Only the
input is kept for the backward pass: the derivative of ELU is recomputed.
"""

from __future__ import annotations

from typing import Any, Dict, List

from numba.core import types

from ..layout.workspace import BLOCK
from .native import Kernel
from .vector_code import Loop, VectorCode, intrinsic, put_word, stack_memory


def functions(lanes: int, together: int) -> Dict[str, Kernel]:
    """The kernels for vectors of `lanes` float32, not yet compiled; see :class:`.catalogue.NormKernels`.

    Args:
        together: vectors of a row that are processed at once.
    """
    size = 4 * lanes

    def kernel(tensors: int, parameters: int, step: Any, sums: int = 0) -> Any:
        """A kernel that loops over rows, for `together` vectors of channels at a time.

        `step` gets the code, the parameters (vectors), the addresses of the row in each tensor and
        the sums so far, and returns the new sums.
        """
        count = 2 + parameters + tensors + sums

        @intrinsic
        def loop_over_rows(typing: Any, table: Any) -> Any:
            """`table`: row bytes, number of rows, addresses of the parameters, tensors and sums."""

            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                code = VectorCode(builder, lanes)
                words = [code.load_word(arguments[0], 8 * i) for i in range(count)]
                parameter_at, places = words[2 : 2 + parameters], words[2 + parameters : count - sums]
                first = [code.load(place) for place in parameter_at]
                loop = Loop(builder, words[1], [code.splat(0.0)] * (sums * together))
                here = builder.mul(loop.index, words[0])
                results: List[Any] = []
                for k in range(together):
                    # Registers can hold the parameters of one vector; those of more are read from the L1 cache.
                    constants = first if together == 1 else [code.load(place, k * size) for place in parameter_at]
                    rows = [code.offset(place, here, k * size) for place in places]
                    results += step(code, constants, rows, loop.values[k * sums : (k + 1) * sums])
                totals = loop.close(results)
                for i, total in enumerate(totals):
                    code.store(total, words[count - sums + i % sums], i // sums * size)
                return context.get_dummy_value()

            return types.void(types.int64), generate

        memory = stack_memory(8 * count)

        def run(a, b, c, values, out, rows, channels, first, last):
            table = memory()
            put_word(table, channels * 4)
            for block in range(first, last):
                put_word(table + 8, min(BLOCK, rows - block * BLOCK))
                for g in range(0, channels, lanes * together):
                    for i in range(parameters):
                        put_word(table + 8 * (2 + i), values + (i * channels + g) * 4)
                    start = (block * BLOCK * channels + g) * 4
                    put_word(table + 8 * (2 + parameters), a + start)
                    if tensors > 1:
                        put_word(table + 8 * (3 + parameters), b + start)
                    if tensors > 2:
                        put_word(table + 8 * (4 + parameters), c + start)
                    for j in range(sums):
                        put_word(table + 8 * (2 + parameters + tensors + j),
                                 out + ((block * sums + j) * channels + g) * 4)  # fmt: skip
                    loop_over_rows(table)

        return run

    def sum_step(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
        x = code.subtract(code.load(rows[0]), constants[0])
        return [code.add(sums[0], x), code.multiply_add(x, x, sums[1])]

    def apply_step(elu: bool) -> Any:
        def step(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
            value = code.multiply_add(code.load(rows[0]), constants[0], constants[1])
            code.stream(code.elu(value) if elu else value, rows[1])
            return []

        return step

    def add_step(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
        value = code.multiply_add(code.load(rows[0]), constants[0], constants[1])
        code.stream(code.add(value, code.load(rows[1])), rows[2])
        return []

    def pulled(code: VectorCode, x: Any, gradient: Any, scale: Any, shift: Any, elu: bool) -> Any:
        """The gradient w.r.t. the input of ELU."""
        if not elu:
            return gradient
        return code.multiply(gradient, code.exp_below_zero(code.multiply_add(x, scale, shift)))

    def gradient_sum_step(elu: bool) -> Any:
        def step(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
            x = code.load(rows[0])
            g = pulled(code, x, code.load(rows[1]), constants[0], constants[1], elu)
            return [code.add(sums[0], g), code.multiply_add(g, code.subtract(x, constants[2]), sums[1])]

        return step

    def gradient_step(elu: bool) -> Any:
        def step(code: VectorCode, constants: Any, rows: Any, sums: Any) -> Any:
            x = code.load(rows[0])
            g = pulled(code, x, code.load(rows[1]), constants[0], constants[1], elu)
            centred = code.subtract(x, constants[2])
            total = code.multiply_add(g, constants[3], code.multiply_add(centred, constants[4], constants[5]))
            code.stream(total, rows[2])
            return []

        return step

    found = {"sums": kernel(1, 1, sum_step, 2), "add": kernel(3, 2, add_step)}
    for elu, end in ((False, ""), (True, "_elu")):
        found["apply" + end] = kernel(2, 2, apply_step(elu))
        found["gradient_sums" + end] = kernel(2, 3, gradient_sum_step(elu), 2)
        found["gradient" + end] = kernel(3, 6, gradient_step(elu))
    return found
