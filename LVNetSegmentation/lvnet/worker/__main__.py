"""Entry point of `python -m lvnet.worker`; this file can also be run by its path.

Run by its path, it imports the package that contains it, whatever the working directory and the
environment's search paths hold: another `lvnet` found there must never be used instead.
"""

import os
import sys


def _find_own_package() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    # When a file is run by its path, its folder comes first in sys.path; an empty entry is the working directory.
    others = [path for path in sys.path if path and os.path.abspath(path) != here]
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *others]


if __name__ == "__main__":
    if not __package__:
        _find_own_package()
    from lvnet.worker.server import main

    # Not sys.exit: a thread still reads from stdin, which would make a normal exit of Python hang.
    os._exit(main(sys.argv[1:]))
