"""Invalid and unusual input: small synthetic files and folders, each with the expected answer.

A case is a function that creates an input in an empty folder.  Its expected answer is either *handled* (the result is
that of the correctly read scan, which the case provides) or *refused* (a one-line error with these words, exit code 2,
and no files left behind).  The same cases run with the command line and the worker (Testing/core) and, if a Slicer
node can represent them, with the Logic (Testing/mrml).  `python Testing/corpus/table.py` prints them as
docs/bad_input.md.
"""

from __future__ import annotations

from typing import List

from .case import Case


def all_cases() -> List[Case]:
    """Every case in the order of the table, grouped by kind."""
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
