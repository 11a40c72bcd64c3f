"""Slicer's windows in stand-in, around the real MRML of slicer-core; see slicer_windows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def slicer():
    from slicer_windows.application import start

    return start()


@pytest.fixture(scope="session")
def module(slicer):
    """The product's module file, imported under the stand-in."""
    import importlib

    return importlib.import_module("LVNetSegmentation")
