"""Names of a package that are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import Any, Callable, Dict, List, Mapping, Tuple


def lazy_names(
    package: Dict[str, Any], modules: Mapping[str, str]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
    """What a package takes as its `__getattr__` and `__dir__`.

    Args:
        package: its `globals()`.
        modules: by name, the module of the package that has it.
    """
    own = package["__name__"]

    def find(name: str) -> Any:
        if name in modules:
            return getattr(importlib.import_module(f"{own}.{modules[name]}"), name)
        raise AttributeError(f"module {own!r} has no attribute {name!r}")

    return find, lambda: sorted(set(package) | set(modules))
