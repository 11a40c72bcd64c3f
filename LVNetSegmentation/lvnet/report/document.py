"""The frame of every HTML page: one self-contained file."""

from __future__ import annotations

from html import escape
from typing import Sequence

from .._version import __version__
from .style import CSS

#: The page loads nothing and runs no scripts.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, lead: str, parts: Sequence[str], purpose: str, more_css: str = "") -> str:
    """An HTML page.

    Args:
        title: plain text.
        lead: HTML below the title.
        parts: HTML, one after the other; empty ones are omitted.
        purpose: plain text at the end.
        more_css: additional style rules.
    """
    shown = escape(title)
    whole = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{shown}</title><style>{CSS}{more_css}</style></head><body>",
        f"<header><h1>{shown}</h1>{lead}</header>",
        *parts,
        f"<footer>Made by lvnet {__version__}. {escape(purpose)}</footer>",
        "</body></html>",
    ]
    return "\n".join(part for part in whole if part)
