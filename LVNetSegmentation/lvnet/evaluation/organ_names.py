"""When two names of label values mean the same organ."""

from __future__ import annotations

import re
from typing import FrozenSet, Iterable, List

LIVER = "liver"
#: The canonical name of a tumour that is known to lie in the liver, and of one whose place is not said.
LIVER_TUMOUR, TUMOUR = "liver tumour", "tumour"

# By word; British and American spelling, and what data sets call the same thing.
_WORDS = {
    "cancer": TUMOUR, "esophagus": "oesophagus", "hepatic": LIVER, "hepar": LIVER, "ivc": "inferior vena cava",
    "lesion": TUMOUR, "lesions": TUMOUR, "postcava": "inferior vena cava", "tumor": TUMOUR, "tumors": TUMOUR,
    "tumours": TUMOUR, "neoplasm": TUMOUR, "mass": TUMOUR, "urinary": "", "gland": "", "glands": "",
    "gall": "gallbladder",
}  # fmt: skip
_AFTER = {"gallbladder": "bladder"}  # "gall bladder" is one organ, whose second word goes
#: What a label map of the liver may name besides the liver without naming another organ.
_IN_LIVER = frozenset({LIVER, LIVER_TUMOUR, TUMOUR, "liver vessel", "liver vessels", "vessel", "vessels", "cyst"})
_NOTHING = frozenset({"background", "tissue", "anatomical structure", "structure", "unlabeled", "unlabelled", ""})


def canonical(name: str) -> str:
    """One name for all spellings of an organ's: `Kidney_Left` and `left kidney` give the same.

    Args:
        name: as a file has it.

    Returns:
        Words in lower case, in the order of the alphabet; empty where the name says nothing.
    """
    words: List[str] = []
    for word in re.findall(r"[^\W_]+", name.lower()):
        word = _WORDS.get(word, word)
        if words and _AFTER.get(words[-1]) == word:
            continue
        words += word.split()
    found = " ".join(sorted(words))
    return "" if found in _NOTHING else found


def organ(name: str, meaning: str, known: FrozenSet[str]) -> str:
    """The organ that a segment stands for.

    Args:
        name: of the segment.
        meaning: of its terminology code.
        known: canonical names of organs.

    Returns:
        The canonical name: that of `name` where it is the name of an organ, else that of the code,
        else what the name says.
    """
    by_name, by_code = canonical(name), canonical(meaning)
    if by_name in known or not by_code:
        return by_name
    return by_code if by_code in known or not by_name else by_name


def liver_tumours(organs: Iterable[str]) -> FrozenSet[str]:
    """Which of a label map's organs are tumours in the liver.

    A tumour without a place counts where the map names no organ but the liver.
    """
    named = set(organs)
    tumours = {LIVER_TUMOUR} & named
    if named <= _IN_LIVER:
        tumours |= {TUMOUR} & named
    return frozenset(tumours)
