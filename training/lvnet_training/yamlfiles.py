"""Small YAML and JSON files from users: a mapping, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from lvnet.errors import ConfigurationError

#: Far above any settings or split, and far below what a parser takes minutes for.
MOST_BYTES = 2**20


def read_mapping(path: Path, what: str, entries: str = "entries by name") -> Dict[str, Any]:
    """Reads a file whose outermost value is a mapping.  Nothing in it is ever run.

    Args:
        path: the file.
        what: it is, for messages.
        entries: it should hold, for messages.

    Raises:
        ConfigurationError: it cannot be read, is too large, or holds something else.
        ModuleNotFoundError: PyYAML is missing, which the extra [train] brings.
    """
    # Here and not above: the command line must be there to name the extra.
    import yaml

    try:
        if path.exists() and not path.is_file():
            # A device or a pipe would be read for ever.
            raise ConfigurationError(f"the {what} {path} is no file")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ConfigurationError(f"the {what} {path} is larger than {MOST_BYTES} bytes")
        data = yaml.safe_load(text.decode("utf-8"))
    # Dates and numbers that do not exist are ValueErrors of the parser.
    except (OSError, ValueError, ArithmeticError, RecursionError, yaml.YAMLError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigurationError(f"cannot read the {what} {path}: {reason}") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"the {what} {path} holds no {entries}")
    return data
