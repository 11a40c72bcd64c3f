"""The classes that describe a case of the corpus."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, ContextManager, List, Optional, Tuple, Union

import numpy as np
from lvnet.volume import Volume

TINY, BUNDLED = "tiny", "bundled"


@dataclass(frozen=True)
class Handled:
    """A result is expected, equal to that of the correctly read scan.

    Attributes:
        notes: words that the notes must contain, one text per note; empty: no notes are allowed.
        warnings: words that the warnings before the network's run must contain.
        empty: whether the result must be empty; None if either is correct.
        flagged: a warning, or a check of the result, must ask the user to review it.
    """

    notes: Tuple[str, ...] = ()
    warnings: Tuple[str, ...] = ()
    empty: Optional[bool] = None
    flagged: bool = False

    def described(self) -> str:
        """The answer in the words of the table."""
        said = "handled"
        if self.empty:
            said += ", with an empty result"
        if self.flagged and not self.warnings:
            said += "; the checks of the result flag it"
        words = [f"“{text}”" for text in (*self.notes, *self.warnings)]
        return said + (f"; note: {'; '.join(words)}" if words else "")


@dataclass(frozen=True)
class Refused:
    """A one-line error, exit code 2, and no files left behind.

    Attributes:
        words: words that the line must contain.
    """

    words: str

    def described(self) -> str:
        """The answer in the words of the table."""
        return f"refused: “{self.words}”"


@dataclass(frozen=True)
class Node:
    """The case as a Slicer node.

    Attributes:
        array: (z, y, x) voxels, (z, y, x, components), or None for a node without voxels.
        ijk_to_ras: (4, 4).
    """

    array: Optional[np.ndarray]
    ijk_to_ras: np.ndarray = field(default_factory=lambda: np.diag([-2.0, -2.0, 3.0, 1.0]))


@dataclass(frozen=True)
class Made:
    """The input that a case has created.

    Attributes:
        path: input of the program.
        truth: the scan in HU on its grid, as it must be understood; None if it must be refused.
        output: output path of the command line; None: a file in an empty folder.
        surroundings: context in which the program runs, for example without root's capabilities.
        batch_output: output folder of the worker; None: an empty folder.
        into_folder: the command line gets an output folder, so that the result is named after the scan.
        suffix: of the result.
        largest_file: limit of the file size in bytes; the programs then run in separate processes.
    """

    path: Path
    truth: Optional[Volume] = None
    output: Optional[Path] = None
    surroundings: Callable[[], ContextManager[object]] = contextlib.nullcontext
    batch_output: Optional[Path] = None
    into_folder: bool = False
    suffix: str = ".nii.gz"
    largest_file: Optional[int] = None


Answer = Union[Handled, Refused]


@dataclass(frozen=True)
class Case:
    """One case; see the fields of :meth:`Kind.case`."""

    kind: str
    name: str
    title: str
    make: Callable[[Path], Made]
    answer: Answer
    worker: Optional[Answer]
    node: Optional[Callable[[], Node]]
    in_slicer: Optional[Answer]
    weights: str
    slow: bool


class Kind:
    """Collects the cases of one kind.

    Args:
        name: heading in the table.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: List[Case] = []

    def case(
        self,
        title: str,
        answer: Answer,
        *,
        worker: Union[Answer, str, None] = "same",
        node: Optional[Callable[[], Node]] = None,
        in_slicer: Union[Answer, str, None] = None,
        weights: str = TINY,
        slow: bool = False,
        name: Optional[str] = None,
    ) -> Callable[[Callable[[Path], Made]], Callable[[Path], Made]]:
        """Registers the function that creates a case.

        Args:
            title: name of the case in the table.
            answer: expected answer of the command line.
            worker: expected answer of a batch in the worker: "same", another answer if a folder is handled
                differently from a file, or None if the case cannot be part of a batch.
            node: the case as a Slicer node; None: Slicer's own reader loads the file.
            in_slicer: expected answer of the Logic for that node: "same", another answer, or None if
                no such node can exist.
            weights: BUNDLED if the network's output matters, otherwise TINY.
            slow: takes minutes.
            name: of the test; None: the function's name.
        """

        def register(make: Callable[[Path], Made]) -> Callable[[Path], Made]:
            self.cases.append(
                Case(
                    self.name,
                    (name or make.__name__).replace("_", "-"),
                    title,
                    make,
                    answer,
                    answer if worker == "same" else worker,  # type: ignore[arg-type]
                    node,
                    answer if in_slicer == "same" else in_slicer,  # type: ignore[arg-type]
                    weights,
                    slow,
                )
            )
            return make

        return register
