"""The command line `lvnet`: thin glue over the core.

Exit codes: 0 success, 2 an error that the user can fix (one line on stderr), 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from typing import Any, Optional, Sequence

from ..errors import Cancelled, ConfigurationError, LVNetError
from ..files import home
from ..pipeline.options import settings_of
from ..system import claim_process, let_waiting_threads_sleep
from .parser import build_parser
from .terminal import one_line

EXIT_DONE, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 2, 130
_FULL = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)
_PATHS = (
    "inputs", "output", "weights", "probabilities", "uncertainty", "measurements", "prediction", "reference", "compare",
    "csv", "report", "images", "json", "folder", "scan", "labels",
)  # fmt: skip
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; None takes `sys.argv`; the process is then this command's own.

    Returns:
        The exit code.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = build_parser().parse_args(given)
    options.given = given
    if arguments is None:
        claim_process()
    let_waiting_threads_sleep()
    previous = _interrupt_on_termination()
    try:
        _expand_home(options)
        _respect_threads(getattr(options, "threads", None))
        _check_stdout(options)
        code = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except LVNetError as error:
        print(f"lvnet: {one_line(error)}", file=sys.stderr)
        return EXIT_USER_ERROR
    except MemoryError:
        print("lvnet: too little free memory; close other programs, or use smaller images", file=sys.stderr)
        return EXIT_USER_ERROR
    except (KeyboardInterrupt, Cancelled):
        print("lvnet: interrupted; results that were finished before are kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe, as in `lvnet info | head`.
        _give_stdout_up()
        return EXIT_DONE
    except OSError as error:
        # Errors of files are reported where they occur; what remains is standard output.
        if error.errno not in _FULL or error.filename is not None:
            raise
        _give_stdout_up()
        print(f"lvnet: cannot write to standard output: {error.strerror}; free some disk space", file=sys.stderr)
        return EXIT_USER_ERROR
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _respect_threads(threads: Optional[int]) -> None:
    """Sets the thread variables before NumPy and PyTorch are imported, which read them only once.

    Raises:
        ConfigurationError: the number of threads is out of range.
    """
    if threads is None:
        return
    known = settings_of()["threads"]
    problem = known.problem(threads)
    if problem is not None:
        raise ConfigurationError(f"{known.flag} {problem}")
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(threads)


def _expand_home(options: argparse.Namespace) -> None:
    """Expands a leading ~ where the shell does not, as in `--weights=~/liver.safetensors`."""
    for name in _PATHS:
        value = getattr(options, name, None)
        if isinstance(value, str):
            setattr(options, name, os.fspath(home(value)))
        elif isinstance(value, list):
            setattr(options, name, [os.fspath(home(one)) for one in value])


def _check_stdout(options: argparse.Namespace) -> None:
    """Fails early, rather than after hours of work, if the output could not be printed.

    Raises:
        ConfigurationError: stdout is closed.
    """
    prints = getattr(options, "json", None) in (True, "-") or options.command == "info"
    if prints and sys.stdout is None:
        raise ConfigurationError("standard output is closed, so the output cannot be printed; open it, or omit --json")


def _give_stdout_up() -> None:
    """Discards buffered output, so that the interpreter does not try to flush it again on exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt_on_termination() -> Any:
    """Makes SIGTERM act like Ctrl-C, so that temporary files are removed; works in the main thread only."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return None
