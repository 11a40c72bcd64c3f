"""Machine code of kernels: compiled by Numba, called without Numba.

A kernel is a function of 64-bit integers (numbers and addresses) that returns nothing, raises nothing
and calls nothing outside itself.  Its machine code therefore depends only on the processor, can be cached
in a file (:mod:`.kernel_cache`), and runs without the GIL.
"""

from __future__ import annotations

import ctypes
import inspect
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, NamedTuple

from .processor import target

#: A kernel that can be called.
Kernel = Callable[..., None]
_PREFIX = "lvnet_kernel_"


class MachineCode(NamedTuple):
    """Compiled kernels.

    Attributes:
        code: an object file.
        arguments: the number of arguments of each kernel, by name.
    """

    code: bytes
    arguments: Dict[str, int]


def compile_kernels(functions: Mapping[str, Callable[..., Any]]) -> MachineCode:
    """Compiles kernels with Numba.

    Args:
        functions: plain Python in Numba's subset, by name; the module docstring says what a kernel may do.

    Raises:
        Exception: of any type, if Numba or LLVM cannot compile them.
    """
    from llvmlite import binding
    from numba.core import compiler, types
    from numba.core.registry import cpu_target

    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    flags: Any = compiler.Flags()
    # Only the machine code of the function: no wrappers for Python and no exceptions.
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    flags.error_model = "numpy"
    modules: List[Any] = []
    arguments = {name: len(inspect.signature(function).parameters) for name, function in functions.items()}
    for name, function in functions.items():
        result = compiler.compile_extra(
            cpu_target.typing_context, cpu_target.target_context, function,
            (types.int64,) * arguments[name], types.void, flags, {},
        )  # fmt: skip
        module = binding.parse_assembly(result.library.get_llvm_str())
        module.get_function(result.fndesc.llvm_func_name).name = _PREFIX + name
        modules.append(module)
    whole = modules[0]
    for module in modules[1:]:
        whole.link_in(module)
    return MachineCode(_machine(whole.triple).emit_object(whole), arguments)


def open_kernels(machine_code: MachineCode) -> Dict[str, Kernel]:
    """Loads compiled kernels into this process, until it ends."""
    from llvmlite import binding

    triple = binding.get_process_triple() if hasattr(binding, "get_process_triple") else binding.get_default_triple()
    machine = _machine(triple)
    module = binding.parse_assembly("")
    module.triple = triple
    engine = binding.create_mcjit_compiler(module, machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(machine_code.code))
    engine.finalize_object()
    _engines.append(engine)
    return {
        name: _function(engine.get_function_address(_PREFIX + name), count)
        for name, count in machine_code.arguments.items()
    }


#: Machine code lives as long as the engine that loaded it.
_engines: List[Any] = []


def _machine(triple: str) -> Any:
    from llvmlite import binding

    for start in (binding.initialize, binding.initialize_native_target, binding.initialize_native_asmprinter):
        try:
            start()
        except RuntimeError:  # newer versions initialise themselves and raise when asked to
            continue
    name, features = target()
    return binding.Target.from_triple(triple).create_target_machine(
        cpu=name, features=features, opt=3, reloc="default", codemodel="jitdefault", jit=True
    )


#: Functions compiled by Numba take addresses for a result and an exception; kernels write neither.
_nowhere = (ctypes.c_int64 * 2)()


def _function(address: int, count: int) -> Kernel:
    if not address:
        raise LookupError("the compiled kernels lack one of their functions")
    places = (ctypes.c_void_p, ctypes.c_void_p)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *places, *[ctypes.c_int64] * count)(address)
    function.errcheck = _check  # type: ignore[assignment]
    return partial(function, ctypes.addressof(_nowhere), ctypes.addressof(_nowhere) + 8)


def _check(status: int, function: Any, arguments: Any) -> None:
    if status:
        raise ArithmeticError(f"a kernel ended with status {status}")
