"""Names of a package that are imported on first use."""

from __future__ import annotations

import importlib
from typing import Any, Callable, Dict, List, Mapping, Tuple


def lazy_names(
    package: Dict[str, Any], modules: Mapping[str, str]
) -> Tuple[Callable[[str], Any], Callable[[], List[str]]]:
    """The `__getattr__` and `__dir__` of a package with lazily imported names.

    Args:
        package: its `globals()`.
        modules: the module that defines each name.
    """
    own = package["__name__"]

    def find(name: str) -> Any:
        if name in modules:
            return getattr(importlib.import_module(f"{own}.{modules[name]}"), name)
        raise AttributeError(f"module {own!r} has no attribute {name!r}")

    return find, lambda: sorted(set(package) | set(modules))
