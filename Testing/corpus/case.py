"""What a case is."""

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
    """A result comes, and it is that of the true scan.

    Attributes:
        notes: words that must stand in the notes, one text a note; empty: there is none.
        warnings: words that must stand in what was noticed before the network ran.
        empty: nothing may be found; None where that is not the point.
        flagged: what was noticed before the network ran, or a check of the result, asks for somebody's eyes.
    """

    notes: Tuple[str, ...] = ()
    warnings: Tuple[str, ...] = ()
    empty: Optional[bool] = None
    flagged: bool = False

    def described(self) -> str:
        """For the table."""
        said = "handled"
        if self.empty:
            said += ", with an empty result"
        if self.flagged and not self.warnings:
            said += "; the checks of the result flag it"
        words = [f"“{text}”" for text in (*self.notes, *self.warnings)]
        return said + (f"; note: {'; '.join(words)}" if words else "")


@dataclass(frozen=True)
class Refused:
    """One line, exit code 2, nothing left behind.

    Attributes:
        words: that stand in the line.
    """

    words: str

    def described(self) -> str:
        """For the table."""
        return f"refused: “{self.words}”"


@dataclass(frozen=True)
class Node:
    """The case as Slicer could hold it.

    Attributes:
        array: (z, y, x) voxels, (z, y, x, components), or None for a node without voxels.
        ijk_to_ras: (4, 4).
    """

    array: Optional[np.ndarray]
    ijk_to_ras: np.ndarray = field(default_factory=lambda: np.diag([-2.0, -2.0, 3.0, 1.0]))


@dataclass(frozen=True)
class Made:
    """What a maker has made.

    Attributes:
        path: what is given to the program.
        truth: the scan in HU on its grid, as it must be understood; None for what is refused.
        output: where the command line is told to write; None takes a file in an empty folder.
        surroundings: a context in which the program runs, such as one without rights.
        batch_output: where the worker is told to write; None takes an empty folder.
        into_folder: the command line is given a folder, so that the result is called after the scan.
        suffix: of the result.
        largest_file: bytes that a file may have; the programs then run as processes of their own.
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
        name: what the table calls them.
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
        """Registers a maker.

        Args:
            title: what the table calls the case.
            answer: what the command line must answer.
            worker: what a batch of the worker must answer: "same", another answer where a folder is
                seen differently than a file, or None where only a file can be named.
            node: the case as Slicer could hold it; None lets Slicer's own reader load the file.
            in_slicer: what the Logic must answer to that node: "same", another answer, or None where
                there is no such node.
            weights: TINY where the network is not the point, else BUNDLED.
            slow: minutes long.
            name: of the test; None takes the function's.
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
