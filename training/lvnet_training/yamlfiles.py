"""Reading small YAML and JSON files from users: a mapping, or a one-line error."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from lvnet.errors import ConfigurationError

#: Far larger than any settings or split, and far smaller than a file that takes a parser minutes.
MOST_BYTES = 2**20


def read_mapping(path: Path, what: str, entries: str = "entries by name") -> Dict[str, Any]:
    """Reads a file whose top-level value is a mapping.  Nothing in it is ever executed.

    Args:
        path: the file.
        what: its description, for messages.
        entries: what it should contain, for messages.

    Raises:
        ConfigurationError: it cannot be read, is too large, or contains something else.
        ModuleNotFoundError: PyYAML is missing, which the extra [train] installs.
    """
    # Imported here, so that the command line can start and name the missing extra.
    import yaml

    try:
        if path.exists() and not path.is_file():
            # Reading a device or a pipe might never end.
            raise ConfigurationError(f"the {what} {path} is not a file")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ConfigurationError(f"the {what} {path} is larger than {MOST_BYTES} bytes")
        data = yaml.safe_load(text.decode("utf-8"))
    # Invalid dates and numbers raise a ValueError in the parser.
    except (OSError, ValueError, ArithmeticError, RecursionError, yaml.YAMLError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigurationError(f"cannot read the {what} {path}: {reason}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"the {what} {path} contains no {entries}")
    return data
