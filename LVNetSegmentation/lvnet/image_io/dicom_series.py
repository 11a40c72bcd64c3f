"""Choosing the CT series to segment among the files of a folder."""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import ImageError
from ..progress import Progress
from .dicom_groups import grouped, listed, series_of, study_of, why_unread, without_copies
from .dicom_header import DicomHeader, known_header, read_dicom_header
from .dicom_passes import passes_of
from .dicom_slices import Slice
from .dicom_suitability import Verdict, judge

__all__ = ["Candidate", "Found", "Series", "Slice", "choose", "choose_series", "find_series", "study_of"]

# Number of other scans that a note lists besides the one that was used.
_MOST_NAMED = 6


class Series(NamedTuple):
    """Slices of one pass, in the order in which they were found."""

    slices: List[Slice]
    notes: Tuple[str, ...]


class Candidate(NamedTuple):
    """One scan of a folder: a pass of a series.

    Attributes:
        key: selects it with `--series`: the series' number, followed by `:2` for the second pass of that number.
        slices: its slices.
        verdict: how suitable it is.
        copies: number of slices that were left out as copies of the same object.
        siblings: number of passes in its series, including itself.
    """

    key: str
    slices: List[Slice]
    verdict: Verdict
    copies: int
    siblings: int

    @property
    def named(self) -> str:
        """For messages: number, description, type, slices; nothing that could identify a patient."""
        return f"series {self.key} ({self.words})"

    @property
    def words(self) -> str:
        """The same without the number."""
        shown = {slice_.header.shown for slice_ in self.slices}
        description = f'"{shown.pop()}"' if len(shown) == 1 and all(shown) else ""
        return ", ".join(word for word in (description, self.verdict.words, _slices(len(self.slices))) if word)


class Found(NamedTuple):
    """The contents of a folder.

    Attributes:
        candidates: the most suitable first.
        left_out: numbers of files that are not CT slices, by reason.
    """

    candidates: List[Candidate]
    left_out: Counter


def find_series(name: str, paths: Iterable[str], progress: Progress, closed: int = 0) -> Found:
    """The CT scans among files.

    Args:
        name: the folder's name for messages.
        paths: files, which may include other files than DICOM.
        progress: called with the fraction of headers read.
        closed: number of folders that could not be opened.

    Raises:
        ImageError: there is no CT series.
    """
    names = list(paths)
    headers = []
    left_out: Counter = Counter({"folders that may not be opened": closed} if closed else {})
    for index, path in enumerate(names):
        header = known_header(path)
        if header is not None:
            headers.append(header)
        else:
            # Otherwise a slice could be missing from the scan, or be interpolated, without a warning.
            left_out.update(why_unread(path))
        if index % 32 == 0:
            progress(index / len(names), "reading the scan's headers")
    if not headers and left_out:
        raise ImageError(f"{name} contains no readable DICOM ({listed(left_out)}); copy or export it again")
    if not headers:
        raise ImageError(f"{name} contains no DICOM files; give a folder with a CT series, or an image file")
    groups = grouped(headers, left_out)
    if not groups:
        raise ImageError(f"{name} contains no CT series with slice positions ({listed(left_out)}); choose another")
    return Found(_candidates(groups), left_out)


def choose_series(
    name: str,
    paths: Iterable[str],
    progress: Progress,
    wanted: Optional[str] = None,
    closed: int = 0,
    series: Optional[str] = None,
) -> Series:
    """Finds the CT scans among files and chooses the most suitable, or the requested one.

    Args:
        name: the folder's name for messages.
        paths: files, which may include other files than DICOM.
        progress: called with the fraction of headers read.
        wanted: one of `paths`; its scan is used, however unsuitable.
        closed: number of folders that could not be opened.
        series: a series' UID, number or description, followed by `:2` for its second pass.

    Raises:
        ImageError: there is no CT series, or not the requested one, or the folder contains several patients.
    """
    found = find_series(name, paths, progress, closed)
    candidates = found.candidates
    if wanted is not None:
        chosen = next((c for c in candidates if any(s.header.path == wanted for s in c.slices)), None)
        chosen = chosen or _of_same_series(candidates, wanted)
        if chosen is None:
            raise ImageError(f"{name} is not a slice of a CT series ({listed(found.left_out)}); choose another file")
        why = "the one of the given file"
    elif series:
        chosen, why = choose(name, candidates, series), "as requested"
    else:
        patients = {c.slices[0].header.patient for c in candidates}
        if len(patients) > 1:
            raise ImageError(
                f"{name} contains scans of {len(patients)} patients; give the folder of one, or select a scan with"
                " --series (lvnet info FOLDER lists them)"
            )
        chosen = candidates[0]
        why = _why(candidates)
    return Series(chosen.slices, _notes(candidates, chosen, why, found.left_out))


def choose(name: str, candidates: Sequence[Candidate], wanted: str) -> Candidate:
    """The requested scan.

    Args:
        name: the folder's name for messages.
        candidates: the most suitable first.
        wanted: a series' UID, number or description (or a part of it), followed by `:2` for its second pass.

    Raises:
        ImageError: no series matches, or several do.
    """
    text, _, number = wanted.strip().rpartition(":")
    if not text or not number.isdigit():
        text, number = wanted.strip(), ""
    low = text.lower()
    ways = (
        lambda c: c.slices[0].header.fields["series_uid"] == text,
        lambda c: re.fullmatch(r"-?\d+", text) and c.slices[0].header.numbers["series_number"] == int(text),
        lambda c: c.slices[0].header.description.lower() == low,
        lambda c: low in c.slices[0].header.description.lower(),
    )
    fitting = next((found for way in ways if (found := [c for c in candidates if low and way(c)])), [])
    if number:
        fitting = [c for c in fitting if c.key.endswith(f":{number}") or (number == "1" and ":" not in c.key)]
    ask = "lvnet info FOLDER lists the series"
    if not fitting:
        raise ImageError(f"{name} contains no CT series that matches the request; {ask}")
    if len({_series_key(c.slices[0].header) for c in fitting}) > 1:
        raise ImageError(f"{name} contains several series that match the request; give the UID of one ({ask})")
    return fitting[0]


def _series_key(header: DicomHeader) -> Tuple[object, ...]:
    return (*series_of(header), header.fields["series_number"], header.description)


def _of_same_series(candidates: Sequence[Candidate], wanted: str) -> Optional[Candidate]:
    """If the wanted file is a copy of a slice: the scan that contains the slice."""
    header = read_dicom_header(wanted)
    uid = header.fields["instance_uid"] if header else ""
    return next((c for c in candidates if uid and any(s.header.fields["instance_uid"] == uid for s in c.slices)), None)


def _candidates(groups: Sequence[List[Slice]]) -> List[Candidate]:
    passes: List[Tuple[List[Slice], int]] = []
    for group in groups:
        slices = without_copies(group)
        copies = len(group) - len(slices)
        for number, part in enumerate(passes_of(slices)):
            passes.append((part, 0 if number else copies))
    verdicts = judge([part for part, _ in passes])
    ranked = sorted(
        zip(passes, verdicts), key=lambda pair: (pair[1].order, _order(pair[0][0][0].header), _earliest(pair[0][0]))
    )
    by_number: Counter = Counter(str(part[0].header.numbers["series_number"]) for (part, _), _ in ranked)
    by_series: Counter = Counter(_series_key(part[0].header) for (part, _), _ in ranked)
    seen: Dict[str, int] = Counter()
    result = []
    for (part, copies), verdict in ranked:
        label, own = str(part[0].header.numbers["series_number"]), _series_key(part[0].header)
        seen[label] += 1
        name = label if by_number[label] == 1 else f"{label}:{seen[label]}"
        result.append(Candidate(name, part, verdict, copies, by_series[own]))
    return result


def _order(header: DicomHeader) -> Tuple[int, ...]:
    return (header.numbers["series_number"],)


def _earliest(part: Sequence[Slice]) -> Tuple[int, ...]:
    return min((s.header.numbers["acquisition"], s.header.numbers["instance"]) for s in part)


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def _why(candidates: Sequence[Candidate]) -> str:
    """Why the first is preferred to the second."""
    if len(candidates) < 2:
        return ""
    best, next_ = candidates[0].verdict.order, candidates[1].verdict.order
    reasons = (
        "the original axial scan", "the one with one image per position", "the one of the abdomen", "the largest",
        "the one with a wide field of view",
        "the finest", "the one with a soft kernel", "the most suitable contrast phase", "the largest", "the finest",
        "the largest",
    )  # fmt: skip
    return next(
        (reason for reason, a, b in zip(reasons, best, next_) if a != b), "the first of several equivalent ones"
    )


def _notes(candidates: Sequence[Candidate], chosen: Candidate, why: str, left_out: Counter) -> Tuple[str, ...]:
    notes: List[str] = []
    others = [c for c in candidates if c is not chosen]
    if others:
        named = [c.named for c in others[:_MOST_NAMED]]
        if len(others) > _MOST_NAMED:
            named.append(f"{len(others) - _MOST_NAMED} more")
        note = (
            f"series {chosen.key} was chosen from {len(candidates)} scans, {why}: {chosen.words};"
            f" also there: {', '.join(named)}"
        )
        if chosen.siblings > 1:
            note += f"; the {chosen.siblings} passes of one series were separated"
        notes.append(note)
    if chosen.copies:
        notes.append(f"{chosen.copies} slices at duplicate positions were left out (copies or a later phase)")
    if left_out:
        notes.append(f"left out: {listed(left_out)}")
    return tuple(notes)
