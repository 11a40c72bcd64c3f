"""The report of an evaluation as one HTML file with tables, charts and pictures.

The file is self-contained: it loads nothing, runs no scripts, and can be printed to PDF from a browser.
"""

from __future__ import annotations

from .report import write_report

__all__ = ["write_report"]
