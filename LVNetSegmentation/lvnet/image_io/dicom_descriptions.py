"""A series' description: decoding it, and deciding whether a note may repeat it.

A description is free text that may contain the patient's name.  The listing of a folder (`lvnet info FOLDER`), which
only the user sees, shows it unchanged.  Notes go into results and pages that may be shared, so they repeat it only if
nothing in it resembles the patient's identity.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Iterable, List, Set

# Names of character sets in DICOM and in Python; escape sequences are not decoded.
_CODECS = {
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk", "ISO_IR 13": "shift_jis", "ISO_IR 166": "iso8859_11",
    **{f"ISO_IR {number}": f"iso8859_{part}" for number, part in (
        (100, 1), (101, 2), (109, 3), (110, 4), (144, 5), (127, 6), (126, 7), (138, 8), (148, 9), (203, 15)
    )},
}  # fmt: skip
_MANY_DIGITS = re.compile(r"\d{6}")
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}")
_FEWEST_LETTERS, _FEWEST_DIGITS = 3, 4
# From this code point on a single character can be a whole name: Chinese, Japanese, Korean.
_IDEOGRAPHS = "\u2e80"


def free_text(value: bytes, character_set: str) -> str:
    """Decodes a text of the header.

    Args:
        value: its bytes.
        character_set: the header's SpecificCharacterSet.
    """
    name = character_set.split("\\")[0].strip().upper().replace("ISO 2022 IR", "ISO_IR")
    for codec in (_CODECS.get(name, "utf-8"), "latin-1"):
        try:
            return value.decode(codec).strip(" \0")
        except UnicodeDecodeError:
            continue
    return ""


def may_be_shown(description: str, identity: Iterable[str]) -> bool:
    """Whether a note may repeat a description.

    It must not if it contains a part of the patient's name or ID (three letters or four digits in a row, or a short
    word as a whole), six digits in a row, a date, or unprintable characters.

    Args:
        description: the series' description.
        identity: the patient's name and ID.
    """
    if not description.isprintable() or _MANY_DIGITS.search(description) or _DATE.search(description):
        return False
    text = _folded(description)
    words = set(_words(text))
    return not any(_stands_in(part, text, words) for name in identity for part in _words(_folded(name)))


def _stands_in(part: str, text: str, words: Set[str]) -> bool:
    fewest = _FEWEST_DIGITS if part.isdigit() else _FEWEST_LETTERS
    if len(part) >= fewest or part[0] >= _IDEOGRAPHS:
        return part in text
    return len(part) > 1 and not part.isdigit() and part in words


def _words(text: str) -> List[str]:
    return re.findall(r"[^\W\d_]+|\d+", text)


def _folded(text: str) -> str:
    """A text in lower case and without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))
