"""Tables and pictures that all HTML pages share."""

from __future__ import annotations

import base64
from html import escape
from typing import Sequence


def table(kind: str, heads: Sequence[str], body: Sequence[str]) -> str:
    """A table from rows that are already HTML.

    Args:
        kind: its class in the style sheet; may be empty.
        heads: the column headings as plain text.
        body: HTML of the rows, each `<tr>...</tr>`.
    """
    row = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    named = f' class="{kind}"' if kind else ""
    return f"<table{named}><thead><tr>{row}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of plain texts that scrolls if it is too wide; the first cell of a row is its heading."""
    body = [
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(text)}</td>" for text in row[1:]) + "</tr>"
        for row in rows
    ]
    return f'<div class="wide">{table(kind, heads, body)}</div>'


def picture(data: bytes, words: str, caption: str = "") -> str:
    """A PNG embedded in the page.

    Args:
        data: the file's content.
        words: alternative text for readers who cannot see it, as plain text.
        caption: plain text below it.
    """
    address = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img alt="{escape(words)}" style="max-width:100%" src="{address}">{below}</figure>'


def sentences(title: str, lines: Sequence[str]) -> str:
    """A heading with a list of plain sentences; empty if there are none."""
    if not lines:
        return ""
    entries = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)} ({len(lines)})</h2><ul>{entries}</ul>"
