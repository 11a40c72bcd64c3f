"""Mapping the values in a label file to the classes of a network."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

import numpy as np
from lvnet.errors import ConfigurationError, ImageError
from lvnet.recipe import LabelClass

#: Names of tumours in data sets; they belong to the organ unless the configuration has a class for them.
TUMOUR = ("tumour", "tumor", "cancer", "lesion")


def label_map(settings: Mapping[int, str], classes: Sequence[LabelClass], names: Mapping[int, str]) -> Dict[int, int]:
    """The class of each value of a label file.

    Args:
        settings: `labels` of the configuration: class name (or `background`) by value; empty uses `names`.
        classes: from the configuration, in the network's order; background is class 0 and has no entry.
        names: names by value from the data set.  Other organs become background; a tumour belongs to the
            liver unless it is a class of its own.  Without names, values are classes.

    Returns:
        Class number by value, including 0.

    Raises:
        ConfigurationError: a name is not a class, or no value belongs to a class.
    """
    index = {c.name.lower(): number for number, c in enumerate(classes, start=1)}
    index["background"] = 0
    known = ", ".join(sorted(index))
    if settings:
        for value, name in settings.items():
            if str(name).lower() not in index:
                raise ConfigurationError(
                    f"the label {value} is mapped to {name!r}, which is not a class; choose {known}"
                )
        return {0: 0, **{int(value): index[str(name).lower()] for value, name in settings.items()}}
    if not names:
        return {number: number for number in range(len(classes) + 1)}
    result = {0: 0}
    for value, name in names.items():
        if name in TUMOUR:
            own = next((index[word] for word in TUMOUR if word in index), None)
            result[value] = index.get("liver", 0) if own is None else own
        else:
            result[value] = index.get(name, 0)
    if not any(result.values()):
        raise ConfigurationError(
            f"the data set has {', '.join(names.values())}, but the configuration has {known}; set `labels`"
        )
    return result


def to_classes(name: str, array: np.ndarray, mapping: Mapping[int, int]) -> np.ndarray:
    """Class numbers, uint8, of the values of a label file.

    Raises:
        ImageError: the file contains a value that is not in the mapping.
    """
    values = np.unique(array)
    unknown = [int(v) for v in values if int(v) not in mapping]
    if unknown:
        known = ", ".join(map(str, sorted(mapping)))
        raise ImageError(
            f"{name}: the label contains the unknown value {unknown[0]}; known values are {known}; set `labels`"
        )
    if all(mapping[int(v)] == int(v) for v in values):
        return np.ascontiguousarray(array).astype(np.uint8)
    out = np.zeros(array.shape, np.uint8)
    for value in values:
        out[array == value] = mapping[int(value)]
    return out
