"""The stand-in itself: it behaves as PythonQt where the product looks, and offers no more than is used."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
FACING = [MODULE / "LVNetSegmentation.py", *sorted((MODULE / "LVNetSegmentationLib").rglob("*.py"))]


def test_the_products_modules_see_properties_and_the_tests_see_methods(slicer, module):
    """The switch acts by module: without it `label.text = ...` would only hang a new attribute on the object."""
    import qt
    from LVNetSegmentationLib.panel import findings

    label = qt.QLabel("first")
    scope = vars(findings)
    exec("def read(widget): return widget.text\ndef write(widget, text): widget.text = text", scope)
    scope["write"](label, "second")
    assert scope["read"](label) == "second"
    assert label.text() == "second"


def test_every_file_of_the_product_that_may_see_qt_is_switched(slicer, module):
    from shibokensupport import feature
    from slicer_windows.pythonqt import TRUE_PROPERTY

    importlib.import_module("LVNetSegmentationLib.panel.panel")
    names = {".".join(path.relative_to(MODULE).with_suffix("").parts).replace(".__init__", "") for path in FACING}
    seeing = {name for name in names if name in sys.modules and name not in ("LVNetSegmentationLib.panel",)}
    assert {"LVNetSegmentation", "LVNetSegmentationLib.panel.run"} <= seeing
    assert {feature.pyside_feature_dict.get(name) for name in seeing} == {TRUE_PROPERTY}


def test_a_signal_that_does_not_exist_is_refused(slicer):
    import qt

    with pytest.raises(TypeError, match="has no signal pressedTwice"):
        qt.QPushButton("a").connect("pressedTwice()", print)


def test_this_pyside_keeps_count_of_none(slicer):
    """PySide6 6.12.0 drops a reference to None with each call, until Python aborts; hence the upper bound."""
    import qt

    label = qt.QLabel("a")
    before = sys.getrefcount(None)
    for _ in range(2000):
        label.setToolTip("b")
    assert sys.getrefcount(None) > before - 1000


def names_below(module_name: str) -> set:
    """What the product reads of a module: `qt.QTimer` is QTimer."""
    found = set()
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module_name:
                found.add(node.attr)
    return found


def test_the_stand_in_offers_no_name_of_qt_or_ctk_that_the_product_does_not_use(slicer):
    import ctk
    import qt

    drawn = set()
    for line in (MODULE / "Resources" / "UI" / "LVNetSegmentation.ui").read_text(encoding="utf-8").splitlines():
        if "<widget class=" in line:
            drawn.add(line.split('"')[1])
    offered = {name for made in (qt, ctk) for name in vars(made) if not name.startswith("_")}
    assert offered - drawn - names_below("qt") - names_below("ctk") == set()
