"""Bad input, bad luck, bad intent: small made files and folders, each with the answer it must get.

A case is a function that makes something in an empty folder.  What the program must answer stands
beside it: *handled* (the result is that of the true scan, which the maker knows) or *refused* (one line with
these words, exit code 2, nothing left behind).  The same cases run through the command line and the
worker (Testing/core), and where they can exist as a node, through the Logic (Testing/mrml).
`python Testing/corpus/table.py` prints them as docs/bad_input.md.
"""

from __future__ import annotations

from typing import List

from .case import Case


def all_cases() -> List[Case]:
    """Every case, by kind, in the order of the table."""
    from . import (
        contents,
        dicom,
        dicom_clinic,
        dicom_packed,
        dicom_studies,
        files,
        geometry,
        machine,
        names,
        statements,
        values,
    )

    kinds = (
        files,
        geometry,
        statements,
        values,
        contents,
        dicom,
        dicom_packed,
        dicom_studies,
        dicom_clinic,
        names,
        machine,
    )
    cases = [case for kind in kinds for case in kind.CASES.cases]
    assert len({case.name for case in cases}) == len(cases)
    return cases
