"""`python -m lvnet.worker`, or this very file by its path.

By its path it finds the package that it lies in, whatever the working directory holds and whatever
paths the environment names: another `lvnet` there must never be taken for this one.
"""

import os
import sys


def _find_own_package() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    # The file's own folder comes first when a file is run by its path; the empty one is the working directory.
    others = [path for path in sys.path if path and os.path.abspath(path) != here]
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *others]


if __name__ == "__main__":
    if not __package__:
        _find_own_package()
    from lvnet.worker.server import main

    # Not sys.exit: a thread still reads from stdin, which would make an orderly end of Python hang.
    os._exit(main(sys.argv[1:]))
