"""Prints docs/bad_input.md: every case, the answer, the tests.

`PYTHONPATH=LVNetSegmentation python Testing/corpus/table.py > docs/bad_input.md`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List, Optional

_HEAD = """\
# Bad input: what happens

<!-- Written by `python Testing/corpus/table.py > docs/bad_input.md`; a test compares it with the cases. -->

{count} cases, made by code in `Testing/corpus`. *Handled*: the result is, voxel for voxel, the network's
result for the true scan, on the scan's own grid. *Refused*: one line with these words, exit code 2, no files left
behind. In all cases the scan and everything beside it are unchanged.

Each case runs through the command line (`Testing/core/test_bad_input_command_line.py`), through one warm worker as a
batch of its folder (`Testing/core/test_bad_input_worker.py`), and if Slicer can load it, through the module's Logic
(`Testing/mrml/test_bad_input_logic.py`); the last column says which: C, W, L. The test of a case is
`pytest Testing -k NAME`; those in *italics* are slow and run with `make test-slow`. Permissions count in these tests
even for root, which drops the two capabilities that bypass them; the full disk is simulated by a file size limit.

To try a case by hand, `python Testing/corpus/table.py NAME FOLDER` creates it in a folder.
"""


def page() -> str:
    """The whole page."""
    from corpus import all_cases

    cases = all_cases()
    lines = [_HEAD.format(count=len(cases))]
    kind = None
    for case in cases:
        if case.kind != kind:
            kind = case.kind
            lines += ["", f"## {kind[0].upper()}{kind[1:]}", "", "| case | answer | test | |", "|---|---|---|---|"]
        layers = "C" + ("W" if case.worker is not None else "") + ("L" if case.in_slicer is not None else "")
        name = f"*{case.name}*" if case.slow else f"`{case.name}`"
        lines.append(f"| {_cell(case.title)} | {_cell(case.answer.told())} | {name} | {layers} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Optional[List[str]] = None) -> int:
    """Prints the page, or makes one case in a folder."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from corpus import all_cases

    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        sys.stdout.write(page())
        return 0
    name, folder = given
    (case,) = [case for case in all_cases() if case.name == name]
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    print(case.make(place).path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
