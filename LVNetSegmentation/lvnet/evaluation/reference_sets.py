"""The meaning of the label values in public data sets.

Used on request only, and proposed if labels do not match: a file with the values 1 and 2 does not tell
which data set's convention it follows.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterable, List, Mapping

from ..errors import ConfigurationError
from .organ_names import LIVER, LIVER_TUMOUR, TUMOUR, canonical

_BTCV = (
    "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta",
    "inferior vena cava", "portal vein and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland",
)  # fmt: skip
_TOTALSEGMENTATOR = ("spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach")
_TOTALSEGMENTATOR_V2 = (
    *_TOTALSEGMENTATOR, "pancreas", "right adrenal gland", "left adrenal gland", "left upper lung lobe",
    "left lower lung lobe", "right upper lung lobe", "right middle lung lobe", "right lower lung lobe", "oesophagus",
    "trachea", "thyroid gland", "small bowel", "duodenum", "colon", "urinary bladder", "prostate",
)  # fmt: skip
_TOTALSEGMENTATOR_V1 = (
    *_TOTALSEGMENTATOR, "aorta", "inferior vena cava", "portal vein and splenic vein", "pancreas",
    "right adrenal gland", "left adrenal gland",
)  # fmt: skip
_AMOS = (
    "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta",
    "inferior vena cava", "pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder",
    "prostate or uterus",
)  # fmt: skip
_FLARE = (
    "liver", "right kidney", "spleen", "pancreas", "aorta", "inferior vena cava", "right adrenal gland",
    "left adrenal gland", "gallbladder", "oesophagus", "stomach", "duodenum", "left kidney",
)  # fmt: skip
_WORD = (
    "liver", "spleen", "left kidney", "right kidney", "stomach", "gallbladder", "oesophagus", "pancreas", "duodenum",
    "colon", "intestine", "adrenal glands", "rectum", "bladder", "left femur", "right femur",
)  # fmt: skip


def _numbered(names: Iterable[str]) -> Mapping[int, str]:
    return dict(enumerate(names, 1))


#: Names of label values by data set.  TotalSegmentator's bones and muscles are left out.
REFERENCE_SETS: Mapping[str, Mapping[int, str]] = {
    "lits": {1: LIVER, 2: LIVER_TUMOUR},
    "msd": {1: LIVER, 2: LIVER_TUMOUR},
    "btcv": _numbered(_BTCV),
    "synapse": _numbered(_BTCV),
    "totalsegmentator": _numbered(_TOTALSEGMENTATOR_V2),
    "totalsegmentator-v1": _numbered(_TOTALSEGMENTATOR_V1),
    "amos": _numbered(_AMOS),
    "flare": _numbered(_FLARE),
    "word": _numbered(_WORD),
    # Masks of the liver alone; distributed with the value 255 (CHAOS: its CTs).
    "chaos": {1: LIVER, 255: LIVER},
    "ircadb": {1: LIVER, 255: LIVER},
}

#: Canonical names of every organ that a data set names.
KNOWN_ORGANS: FrozenSet[str] = frozenset(
    canonical(name) for names in REFERENCE_SETS.values() for name in names.values()
) | {TUMOUR}


def reference_set(name: str) -> Mapping[int, str]:
    """Names of the label values of a data set.

    Raises:
        ConfigurationError: the name is unknown.
    """
    key = name.strip().lower().replace("_", "-")
    aliases = {"totalsegmentator-v2": "totalsegmentator", "3d-ircadb": "ircadb", "3dircadb": "ircadb"}
    key = aliases.get(key, key)
    if key not in REFERENCE_SETS:
        raise ConfigurationError(f"unknown reference set {name!r}; choose one of {', '.join(REFERENCE_SETS)}")
    return REFERENCE_SETS[key]


def sets_with_liver(values: Iterable[int]) -> Dict[str, List[int]]:
    """The data sets that could have these label values.

    Returns:
        By name of the data set, the values of the liver and of tumours in it that are among `values`.
    """
    held = set(values)
    found: Dict[str, List[int]] = {}
    for name, names in REFERENCE_SETS.items():
        liver = sorted(value for value in held if names.get(value) in (LIVER, LIVER_TUMOUR))
        named = held & set(names)
        whole = named == held or (name.startswith("totalsegmentator") and len(named) > 1)
        if whole and any(names[value] == LIVER for value in liver) and (liver, names) not in [
            (values_, REFERENCE_SETS[other]) for other, values_ in found.items()
        ]:  # fmt: skip
            found[name] = liver
    return found
