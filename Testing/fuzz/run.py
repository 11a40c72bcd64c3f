"""Runs the fuzzer and prints JSON; exit code 1 if there are findings.

`python Testing/fuzz/run.py --minutes 10 reader` fuzzes one target for the given number of minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "LVNetSegmentation"), str(HERE.parents[1] / "training")]

from fuzz_engine import fuzz  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}; default: all")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="folder for the payload of every finding")
    parser.add_argument("--replay", type=Path, help="run one saved payload of the one TARGET instead")
    options = parser.parse_args()
    if options.replay:
        from fuzz_engine import Child

        child = Child(options.targets[0])
        print(json.dumps(child.run(options.replay.read_bytes()), indent=2))
        child.close()
        return 0
    reports = [fuzz(name, options.minutes * 60, options.seed, save=options.save) for name in options.targets or TARGETS]
    print(json.dumps(reports, indent=2))
    return 1 if any(report["findings"] for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
