"""The product's code sees Qt objects as PythonQt shows them, and cannot do with them what PythonQt refuses.

The words of the errors are those of PythonQt 4.1.0 in Slicer 5.12.3, where it has any.
"""

from __future__ import annotations

import functools
import re

import pytest
import shiboken6


@pytest.fixture
def product(slicer, module):
    """Runs a line of code as if it were in a file of the product."""
    from LVNetSegmentationLib.panel import findings

    def run(line: str, **names):
        scope = {**names, "__name__": findings.__name__}
        exec(f"def line(): {line}", scope)
        return scope["line"]()

    return run


def test_the_product_sees_properties_and_the_tests_see_methods(slicer, product):
    import qt

    label = qt.QLabel("first")
    product("label.text = 'second'", label=label)
    assert product("return label.text", label=label) == "second"
    assert label.text() == "second"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("timer.singleShot = True", "Slot 'singleShot' can not be overwritten on QTimer object"),
        ("button.click = None", "Slot 'click' can not be overwritten"),
        ("button.whatever = 1", "'whatever' does not exist on QPushButton and creating new attributes on C++ objects"),
        ("button.text = 3", "does not accept an object of type int"),
        ("button.enabled = 'yes'", "does not accept an object of type str"),
        ("button.enabled = None", "does not accept an object of type NoneType"),
        ("bar.value = 3.5", "does not accept an object of type float"),
        ("button.text()", "'str' object is not callable"),
        ("button.setText('a')", "no attribute named 'setText'"),
        ("button.isVisible()", "no attribute named 'isVisible'"),
        ("box.addItem(text='a')", "addItem() with keyword arguments, but called slot does not support kwargs"),
        ("qt.QTimer(interval=20)", "QTimer() with keyword arguments, but called slot does not support kwargs"),
        ("qt.QLabel('a', toolTip='b')", "QLabel() with keyword arguments"),
        ("qt.QTableWidgetItem(text='a')", "QTableWidgetItem() with keyword arguments"),
        ("qt.QUrl(url='a')", "QUrl() with keyword arguments"),
        ("ctk.ctkPathLineEdit(parent=None)", "ctkPathLineEdit() with keyword arguments"),
        ("timer.setInterval('soon')", "Called setInterval() with wrong arguments: ('soon',)"),
        ("button.connect('clicked(int)', print)", "has no signal clicked(int)"),
        ("button.connect('clicked(bool)', 3)", "cannot be called"),
        ("button.connect('clicked(bool)', lambda one, two: None)", "missing a required argument: 'two'"),
        ("button.connect('clicked(bool)', functools.partial(lambda: None))", "too many positional arguments"),
        ("button.connect('clicked(bool)', slot=print)", "connect() with keyword arguments"),
        ("button.connect('clicked(bool)')", "Called connect() with wrong arguments"),
        ("slicer.app.connect('nonsense()', print)", "has no signal nonsense()"),
        ("slicer.app.connect('startupCompleted()', 3)", "cannot be called"),
        ("slicer.app.connect('startupCompleted()', lambda one: None)", "missing a required argument: 'one'"),
        ("slicer.app.layoutManager(1)", "Called layoutManager() with wrong arguments: (1,)"),
        ("slicer.app.new = 1", "'new' does not exist on qSlicerApplication and creating new attributes"),
        ("slicer.app.layoutManager = 1", "Slot 'layoutManager' can not be overwritten on qSlicerApplication object"),
        ("slicer.app.startupCompleted = 1", "Signal 'startupCompleted' can not be overwritten on qSlicerApplication"),
        ("slicer.app.layoutManager().new = 1", "'new' does not exist on qSlicerLayoutManager"),
        ("slicer.app.layoutManager().threeDViewCount = 2", "Property 'threeDViewCount' of qSlicerLayoutManager"),
        ("slicer.modules.SegmentEditorWidget.editor.new = 1", "'new' does not exist on qMRMLSegmentEditorWidget"),
        ("qt.QTableWidgetItem('a').text = 'b'", "Slot 'text' can not be overwritten on QTableWidgetItem object"),
        ("qt.QTableWidgetItem('a').whatever = 'b'", "'whatever' does not exist on QTableWidgetItem"),
    ],
)
def test_what_pythonqt_refuses_is_refused(slicer, product, monkeypatch, line, words):
    """And so is what it lets pass although it is a mistake, such as a connection that cannot work."""
    import ctk
    import qt
    from slicer_windows import pythonqt

    monkeypatch.setattr(pythonqt, "_NAMED", pythonqt._NAMED | {"whatever", "setText", "isVisible", "click"})
    parts = {"timer": qt.QTimer(), "button": qt.QPushButton("a"), "bar": qt.QProgressBar(), "box": qt.QComboBox()}
    with pytest.raises((AttributeError, TypeError, ValueError), match=re.escape(words)):
        product(line, qt=qt, ctk=ctk, slicer=slicer, functools=functools, **parts)


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("textFormat", "Qt.TextFormat.RichText", 1),
        ("textFormat", "3", 3),
        ("textFormat", "'RichText'", 1),
        ("textFormat", "'Nonsense'", None),
        ("textFormat", "True", None),
        ("textFormat", "1.0", None),
        ("textFormat", "None", None),
        ("textFormat", "2 ** 40", None),
        # PythonQt takes this for a PlainText.
        ("textFormat", "Qt.BGMode.TransparentMode", None),
        ("alignment", "Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop", 34),
        ("alignment", "'AlignRight|AlignTop'", 34),
    ],
)
def test_a_property_of_an_enum_takes_its_values_numbers_and_names(slicer, product, monkeypatch, name, value, number):
    import qt
    from PySide6.QtCore import Qt
    from slicer_windows import pythonqt

    listed = {**pythonqt._LISTED["QLabel"], name: "property"}
    monkeypatch.setitem(pythonqt._LISTED, "QLabel", listed)
    monkeypatch.setattr(pythonqt, "_NAMED", pythonqt._NAMED | {name})
    label = qt.QLabel("a")
    before = product(f"return label.{name}", label=label)
    if number is None:
        with pytest.raises(AttributeError, match="does not accept an object of type"):
            product(f"label.{name} = {value}", label=label, Qt=Qt)
    else:
        product(f"label.{name} = {value}", label=label, Qt=Qt)
    shown = product(f"return label.{name}", label=label)
    assert type(shown) is int
    assert shown == (before if number is None else number)


def test_a_timer_is_made_single_shot_by_its_method(slicer):
    import qt

    timer = qt.QTimer()
    timer.setSingleShot(True)
    assert timer.isSingleShot()


def test_an_object_that_was_destroyed_says_so(slicer, product):
    import qt

    label = qt.QLabel("a")
    shiboken6.delete(label)
    with pytest.raises(ValueError, match="destroyed QLabel"):
        product("return label.text", label=label)
    with pytest.raises(AttributeError, match="destroyed QLabel"):
        product("label.text = 'b'", label=label)
