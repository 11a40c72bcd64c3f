"""An evaluation as one HTML file that people want to read: tables, charts and pictures.

The file holds everything itself: it loads nothing, runs nothing, and prints to PDF from a browser.
"""

from __future__ import annotations

from .report import write_report

__all__ = ["write_report"]
