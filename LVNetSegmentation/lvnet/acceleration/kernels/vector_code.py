"""Small helpers that emit vector code as LLVM instructions, through Numba's own interface.

Compilers fail to keep twenty sums in registers in loops over channels-last arrays.  The innermost
loops are therefore written instruction by instruction; everything around them is plain Numba.
Addresses are 64-bit integers; a vector holds as many float32 as one register of the machine.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, List, Sequence, Tuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic as numba_intrinsic

from ..layout.workspace import LOG2_E

#: Numba's decorator for functions that emit their own instructions; it changes their signature, hence Any.
intrinsic: Any = numba_intrinsic

WORD = ir.IntType(64)
_FLOAT = ir.FloatType()
# Contraction is allowed rather than a fused operation demanded: fast with FMA, still correct without.
_CONTRACT = ("contract",)


def word(value: int) -> Any:
    """A 64-bit constant."""
    return ir.Constant(WORD, value)


class VectorCode:
    """Emits instructions on vectors of `lanes` float32 into a function that Numba builds."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder, self.lanes = builder, lanes
        self.vector = ir.VectorType(_FLOAT, lanes)
        self.integers = ir.VectorType(ir.IntType(32), lanes)

    def splat(self, value: float) -> Any:
        """A vector with the same constant in every lane."""
        return ir.Constant(self.vector, [float(np.float32(value))] * self.lanes)

    def offset(self, address: Any, *steps: Any) -> Any:
        """The address plus constants or values."""
        for step in steps:
            if not isinstance(step, int):
                address = self.builder.add(address, step)
            elif step:
                address = self.builder.add(address, word(step))
        return address

    def times(self, value: Any, factor: int) -> Any:
        """An integer times a constant."""
        return self.builder.mul(value, word(factor))

    def load(self, address: Any, offset: int = 0) -> Any:
        """The vector at an address."""
        place = self.builder.inttoptr(self.offset(address, offset), self.vector.as_pointer())
        return self.builder.load(place, align=4)

    def store(self, value: Any, address: Any, offset: int = 0) -> None:
        """Stores a vector at an address."""
        place = self.builder.inttoptr(self.offset(address, offset), self.vector.as_pointer())
        self.builder.store(value, place, align=4)

    def prefetch(self, address: Any, write: bool = False) -> None:
        """Prefetches the cache line at an address, which need not be valid, into the L2 cache."""
        module, pointer, number = self.builder.module, ir.IntType(8).as_pointer(), ir.IntType(32)
        name = "llvm.prefetch.p0i8"
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, number, number, number]), name)
        options = (ir.Constant(number, value) for value in (int(write), 2, 1))
        self.builder.call(function, [self.builder.inttoptr(address, pointer), *options])

    def stream(self, value: Any, address: Any, offset: int = 0) -> None:
        """Stores a vector at an address aligned to its size, bypassing the caches.

        Whole cache lines then need not be read before they are written, which for large tensors saves a
        third of the memory traffic.
        """
        place = self.builder.inttoptr(self.offset(address, offset), self.vector.as_pointer())
        instruction = self.builder.store(value, place, align=4 * self.lanes)
        instruction.set_metadata("nontemporal", self.builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))

    def load_word(self, address: Any, offset: int = 0) -> Any:
        """The 64-bit integer at an address."""
        return self.builder.load(self.builder.inttoptr(self.offset(address, offset), WORD.as_pointer()))

    def broadcast(self, address: Any, offset: int = 0) -> Any:
        """The float32 at an address, in every lane."""
        place = self.builder.inttoptr(self.offset(address, offset), _FLOAT.as_pointer())
        nothing = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(nothing, self.builder.load(place, align=4), ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(self.integers, [0] * self.lanes))

    def shuffle(self, a: Any, b: Any, order: Sequence[int]) -> Any:
        """Lanes of two vectors in a new order, those of b numbered after those of a."""
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))

    def lane_sums(self, vectors: Sequence[Any]) -> Any:
        """One vector from as many as it has lanes: lane i is the sum of all lanes of vector i."""
        n = self.lanes

        def merge(a: Any, b: Any, first: Sequence[int], second: Sequence[int]) -> Any:
            return self.add(self.shuffle(a, b, first), self.shuffle(a, b, second))

        # Within each four lanes one instruction interleaves two vectors; whole fours are moved afterwards.
        low = [lane + k for lane in range(0, n, 4) for k in (0, n, 1, n + 1)]
        high = [lane + 2 for lane in low]
        fours = []
        for i in range(0, n, 4):
            a, b, c, d = vectors[i : i + 4]
            fours.append(merge(merge(a, c, low, high), merge(b, d, low, high), low, high))
        while len(fours) > 1:
            step = len(fours) // 2 * 4
            kept = [lane for lane in range(2 * n) if lane // step % 2 == 0]
            fours = [merge(a, b, kept, [lane + step for lane in kept]) for a, b in zip(fours[::2], fours[1::2])]
        return fours[0]

    def add(self, a: Any, b: Any) -> Any:
        """a + b."""
        return self.builder.fadd(a, b, flags=_CONTRACT)

    def subtract(self, a: Any, b: Any) -> Any:
        """a - b."""
        return self.builder.fsub(a, b, flags=_CONTRACT)

    def multiply(self, a: Any, b: Any) -> Any:
        """a b."""
        return self.builder.fmul(a, b, flags=_CONTRACT)

    def multiply_add(self, a: Any, b: Any, total: Any) -> Any:
        """total + a b."""
        return self.builder.fadd(total, self.builder.fmul(a, b, flags=_CONTRACT), flags=_CONTRACT)

    def scaled(self, a: Any, factor: float, total: Any) -> Any:
        """total + factor a."""
        return self.multiply_add(a, self.splat(factor), total)

    def smaller(self, a: Any, b: Any) -> Any:
        """The smaller of each lane."""
        return self.builder.select(self.builder.fcmp_ordered("<", a, b, flags=("nnan", "nsz")), a, b)

    def larger(self, a: Any, b: Any) -> Any:
        """The larger of each lane."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b, flags=("nnan", "nsz")), a, b)

    def elu(self, x: Any) -> Any:
        """x where positive, else exp(x) - 1, within 4e-6: the larger of x and exp(min(x, 0)) - 1."""
        if self.lanes == 16:
            return self.larger(x, self.builder.fsub(self.exp_below_zero(x), self.splat(1.0)))
        return self.larger(x, self.multiply_add(*self._exp_factors(x), self.splat(-1.0)))

    def scaled_elu(self, x: Any) -> Any:
        """log2(e) ELU(x / log2(e)) within 6e-6: with AVX-512 two instructions fewer than ELU."""
        if self.lanes == 16:
            fraction = self._avx512("reduce", x, ir.Constant(ir.IntType(32), _DOWN))
            power = self._avx512("scalef", self._polynomial(_SCALED_ABOVE, fraction), x)
            negative = self.builder.fcmp_ordered("<", x, self.splat(0.0))
            return self.builder.select(negative, self.builder.fsub(power, self.splat(LOG2_E)), x)
        builder = self.builder
        clipped = self.larger(self.smaller(x, self.splat(0.0)), self.splat(-40.0))
        shifted = self.add(clipped, self.splat(_ROUND))
        fraction = self.subtract(clipped, builder.fsub(shifted, self.splat(_ROUND)))
        power = self._power_of_two(shifted)
        return self.larger(x, self.multiply_add(self._polynomial(_SCALED_AROUND, fraction), power, self.splat(-LOG2_E)))

    def exp_below_zero(self, x: Any) -> Any:
        """exp(min(x, 0)) within 4e-6: the slope of ELU."""
        if self.lanes == 16:
            # AVX-512 has an instruction for the fraction of a number, and one to multiply by a power of two.
            scaled = self.multiply(self.smaller(x, self.splat(0.0)), self.splat(LOG2_E))
            fraction = self._avx512("reduce", scaled, ir.Constant(ir.IntType(32), _DOWN))
            return self._avx512("scalef", self._polynomial(_EXP2_ABOVE, fraction), scaled)
        return self.multiply(*self._exp_factors(x))

    def _exp_factors(self, x: Any) -> Tuple[Any, Any]:
        """exp(min(x, 0)) as 2^f 2^n, with n the nearest integer; below exp(-30) it is that."""
        builder = self.builder
        negative = self.larger(self.smaller(x, self.splat(0.0)), self.splat(-30.0))
        # Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the lowest bits, together with the 127
        # that exponents are stored with; from there it is shifted into the exponent.
        shifted = self.scaled(negative, LOG2_E, self.splat(_ROUND))
        whole = builder.fsub(shifted, self.splat(_ROUND))
        fraction = builder.fsub(self.multiply(negative, self.splat(LOG2_E)), whole, flags=_CONTRACT)
        return self._polynomial(_EXP2_AROUND, fraction), self._power_of_two(shifted)

    def _power_of_two(self, shifted: Any) -> Any:
        """2^n of n + _ROUND: an integer in the lowest bits moves into the exponent."""
        left = ir.Constant(self.integers, [23] * self.lanes)
        bits = self.builder.bitcast(shifted, self.integers)
        return self.builder.bitcast(self.builder.shl(bits, left), self.vector)

    def _polynomial(self, coefficients: Sequence[float], x: Any) -> Any:
        """A polynomial, its coefficients lowest first."""
        value = self.splat(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            value = self.multiply_add(value, x, self.splat(coefficient))
        return value

    def _avx512(self, name: str, a: Any, b: Any) -> Any:
        module, i16, i32 = self.builder.module, ir.IntType(16), ir.IntType(32)
        full = f"llvm.x86.avx512.mask.{name}.ps.512"
        function = module.globals.get(full)
        if function is None:
            function = ir.Function(
                module, ir.FunctionType(self.vector, [self.vector, b.type, self.vector, i16, i32]), full
            )
        return self.builder.call(function, [a, b, a, ir.Constant(i16, -1), ir.Constant(i32, 4)])


class Loop:
    """A counted loop of at least one iteration that carries values from one to the next in registers."""

    def __init__(self, builder: Any, turns: Any, carried: Sequence[Any]) -> None:
        self.builder, self.turns = builder, turns
        entry, function = builder.block, builder.function
        self.body, self.end = function.append_basic_block("body"), function.append_basic_block("end")
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.index = builder.phi(WORD)
        self.index.add_incoming(word(0), entry)
        self.values = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.values, carried):
            phi.add_incoming(value, entry)

    def close(self, results: Sequence[Any]) -> List[Any]:
        """Ends the body; its results go to the next iteration, and are returned after the last."""
        builder = self.builder
        following = builder.add(self.index, word(1))
        self.index.add_incoming(following, builder.block)
        for phi, value in zip(self.values, results):
            phi.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self.turns), self.body, self.end)
        builder.position_at_end(self.end)
        return list(results)


@lru_cache(maxsize=2)
def vector_copy(lanes: int) -> Any:
    """An intrinsic for kernels, (source, target, count): copies `count` vectors of `lanes` float32."""

    @intrinsic
    def copy(typing: Any, source: Any, target: Any, count: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            code = VectorCode(builder, lanes)
            source, target, count = arguments
            loop = Loop(builder, count, [])
            step = code.times(loop.index, 4 * lanes)
            code.store(code.load(code.offset(source, step)), code.offset(target, step))
            loop.close([])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), generate

    return copy


@cache
def stack_memory(size: int) -> Any:
    """An intrinsic for kernels, (): the address of `size` bytes on the stack of the calling function.

    They are aligned to a cache line, the same in every iteration of a loop, and not initialised.
    """

    @intrinsic
    def memory(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            # Numba's own helper would zero the memory, and for much of it call a function of the C library.
            with builder.goto_entry_block():
                place = builder.alloca(ir.ArrayType(ir.IntType(8), size + 64))
            address = builder.add(builder.ptrtoint(place, WORD), word(63))
            return builder.and_(address, word(-64))

        return types.int64(), generate

    return memory


@intrinsic
def put_word(typing: Any, address: Any, value: Any) -> Any:
    """An intrinsic for kernels: writes a 64-bit integer to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, value = arguments
        builder.store(value, builder.inttoptr(address, WORD.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _exp2_polynomial(degree: int, middle: float) -> List[float]:
    """Coefficients of 2^f within 0.5 of `middle`, lowest first, least relative error at the Chebyshev nodes."""
    points = np.cos(np.pi * (np.arange(400) + 0.5) / 400) / 2 + middle
    powers = points[:, None] ** np.arange(degree + 1)
    return [float(c) for c in np.linalg.lstsq(powers / np.exp2(points)[:, None], np.ones(400), rcond=None)[0]]


_ROUND = 1.5 * 2**23 + 127
_DOWN = 1  # AVX-512's rounding towards the smaller number
_EXP2_AROUND, _EXP2_ABOVE = _exp2_polynomial(4, 0.0), _exp2_polynomial(4, 0.5)
_SCALED_AROUND, _SCALED_ABOVE = ([LOG2_E * c for c in p] for p in (_EXP2_AROUND, _EXP2_ABOVE))
