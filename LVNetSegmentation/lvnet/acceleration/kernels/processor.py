"""The processor that kernels are compiled for."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Dict, Tuple

#: Environment variables of Numba that make it compile for another processor than this one.
_NAME, _FEATURES, _AVX = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX"


def target() -> Tuple[str, str]:
    """The processor's name and features in LLVM's notation."""
    return _target(os.environ.get(_NAME, ""), os.environ.get(_FEATURES, ""), os.environ.get(_AVX, "") != "0")


@lru_cache(maxsize=4)
def _target(name: str, features: str, avx: bool) -> Tuple[str, str]:
    from llvmlite import binding

    if name not in ("", "host"):
        return name, features
    found = {key: on and (avx or not key.startswith("avx")) for key, on in _host_features().items()}
    flags = ",".join(("+" if on else "-") + key for key, on in sorted(found.items()))
    return binding.get_host_cpu_name(), features or flags


def _host_features() -> Dict[str, bool]:
    from llvmlite import binding

    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM does not know this machine's features
        return {}


def register_lanes() -> int:
    """float32 values per vector register: 16 if kernels are compiled for AVX-512, else 8."""
    features = target()[1].split(",")
    return 16 if "+avx512f" in features and "+avx512dq" in features else 8
