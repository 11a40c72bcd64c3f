"""A series' description: how it is read, and whether a note may repeat it.

A description is free text in which a patient may stand.  The user's own list of a folder (`lvnet info FOLDER`) shows
it as it is; a note goes into results and onto pages that are passed on, and so repeats it only where nothing in it
looks like the patient.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Iterable, List, Set

# What DICOM calls a character set, and what Python does; without escape sequences, which are left as they are.
_CODECS = {
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk", "ISO_IR 13": "shift_jis", "ISO_IR 166": "iso8859_11",
    **{f"ISO_IR {number}": f"iso8859_{part}" for number, part in (
        (100, 1), (101, 2), (109, 3), (110, 4), (144, 5), (127, 6), (126, 7), (138, 8), (148, 9), (203, 15)
    )},
}  # fmt: skip
_MANY_DIGITS = re.compile(r"\d{6}")
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{2,4}")
_FEWEST_LETTERS, _FEWEST_DIGITS = 3, 4
# From here on, a letter of Unicode can be a whole name: Chinese, Japanese, Korean.
_IDEOGRAPHS = "\u2e80"


def free_text(value: bytes, character_set: str) -> str:
    """A text of the header.

    Args:
        value: its bytes.
        character_set: what the header says of them (SpecificCharacterSet).
    """
    name = character_set.split("\\")[0].strip().upper().replace("ISO 2022 IR", "ISO_IR")
    for codec in (_CODECS.get(name, "utf-8"), "latin-1"):
        try:
            return value.decode(codec).strip(" \0")
        except UnicodeDecodeError:
            continue
    return ""


def may_be_told(description: str, identity: Iterable[str]) -> bool:
    """Whether a note may repeat a description.

    Not where it holds a part of what names the patient (three letters or four digits in a row, or a short word as a
    whole), six digits in a row, a date, or what cannot be printed.

    Args:
        description: of a series.
        identity: the patient's name and number.
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
    """Without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))
