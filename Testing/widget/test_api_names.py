"""Every name of Slicer, CTK and Qt that the module uses is in the checked list, and the list has no others."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Dict, List, Set

import pytest
from slicer_windows.pythonqt import Entry, api_entries

MODULE = Path(__file__).parents[2] / "LVNetSegmentation"
UI = MODULE / "Resources" / "UI" / "LVNetSegmentation.ui"
#: Only declares types for names of Qt and CTK.
INTERFACES = MODULE / "LVNetSegmentationLib" / "interfaces.py"
CONTEXT = MODULE / "LVNetSegmentationLib" / "panel" / "context.py"
FACING = [MODULE / "LVNetSegmentation.py", *sorted({*(MODULE / "LVNetSegmentationLib").rglob("*.py")} - {INTERFACES})]
CMAKE = [MODULE / "CMakeLists.txt"]
#: Modules whose names need not be checked.
OTHER_ROOTS = set(sys.stdlib_module_names) | {"np", "lvnet", "Path", "dependencies", "numpy", "PyTorchUtils"}


@pytest.fixture(scope="module")
def entries() -> List[Entry]:
    return api_entries()


def root_of(node: ast.AST) -> str:
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def own_names() -> Set[str]:
    """All names that the product defines itself."""
    names = {widget.get("name") for widget in ElementTree.parse(UI).getroot().iter("widget")}
    for path in {*MODULE.rglob("*.py")} - {INTERFACES}:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {
                    n.attr if isinstance(n, ast.Attribute) else n.id
                    for target in targets
                    for n in ast.walk(target)
                    if (isinstance(n, ast.Attribute) and root_of(n) in ("self", "")) or isinstance(n, ast.Name)
                }
    return names


def python_names() -> Set[str]:
    """Names of attributes of Python's, NumPy's and VTK's objects."""
    names: Set[str] = set()
    kinds = (str, bytes, list, dict, set, tuple, float, int, Exception, OSError, type, property)
    library = {
        "pathlib": ["Path"],
        "threading": ["Thread", "Event"],
        "queue": ["Queue"],
        "subprocess": ["Popen"],
        "io": ["StringIO", "FileIO"],
        "os": ["stat_result"],
        "re": ["Pattern", "Match"],
        "numpy": ["ndarray"],
        "vtk": [
            "vtkCommand",
            "vtkDoubleArray",
            "vtkGeneralTransform",
            "vtkImageData",
            "vtkLinearTransform",
            "vtkMatrix4x4",
            "vtkObject",
            "vtkPointData",
            "vtkPolyData",
            "vtkPolyDataNormals",
            "vtkStringArray",
            "vtkTable",
            "vtkTransform",
            "vtkVariant",
        ],
    }
    for module_name, classes in library.items():
        module = importlib.import_module(module_name)
        kinds += tuple(getattr(module, name) for name in classes)
    for kind in kinds:
        names |= set(dir(kind))
    vtk = importlib.import_module("vtk")
    names |= {name for name in dir(vtk) if name.startswith(("vtk", "VTK"))}
    return names | {"returncode", "writerow", "stderr", "stdin", "stdout"}


def used_names() -> Dict[str, str]:
    """Attributes that the product reads from other objects, with the place of their use."""
    known = own_names() | python_names()
    found = {}
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr not in known and root_of(node) not in OTHER_ROOTS:
                found[node.attr] = f"{path.name}:{node.lineno}"
    return found


def used_signals() -> Dict[str, str]:
    found = {}
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "connect":
                found[ast.literal_eval(node.args[0])] = f"{path.name}:{node.lineno}"
    for connection in ElementTree.parse(UI).getroot().iter("connection"):
        for part in ("signal", "slot"):
            found[connection.findtext(part)] = UI.name
    return found


#: Attributes of modules that always exist in Slicer.
WHAT_SLICER_IS = {
    "app",
    "util",
    "mrmlScene",
    "modules",
    "connect",
    "Qt",
    "PyTorchUtilsLogic",
    "vtkMRMLScalarVolumeDisplayNode",
}


def test_every_name_that_the_module_uses_is_in_the_list(entries):
    listed = {re.split(r"[( ]", entry.name)[0] for entry in entries}
    used = used_names()
    assert len(used) > 60
    assert {name: place for name, place in used.items() if name not in listed | WHAT_SLICER_IS} == {}


def test_every_signal_and_slot_is_in_the_list_with_its_arguments(entries):
    listed = {entry.name for entry in entries}
    assert {signal: place for signal, place in used_signals().items() if signal not in listed} == {}


def test_every_property_of_slicers_own_widgets_is_in_the_list(entries):
    listed = {(entry.owner, entry.name.split(" ")[0]) for entry in entries}
    for widget in ElementTree.parse(UI).getroot().iter("widget"):
        if widget.get("class").startswith(("ctk", "qMRML")):
            for entry in widget.findall("property"):
                name = entry.get("name")
                if name not in ("toolTip", "sizePolicy", "SlicerParameterName"):
                    assert (widget.get("class"), name) in listed, (widget.get("name"), name)


def declared(path: Path) -> Dict[str, Dict[str, str]]:
    """Annotated attributes and methods of the classes in a file, by class; a method has the annotation "method"."""
    found: Dict[str, Dict[str, str]] = {}
    for kind in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(kind, ast.ClassDef):
            members = found.setdefault(kind.name, {})
            for node in kind.body:
                if isinstance(node, ast.AnnAssign):
                    members[node.target.id] = ast.unparse(node.annotation)
                elif isinstance(node, ast.FunctionDef):
                    members[node.name] = "property" if node.decorator_list else "method"
    return found


def test_the_widgets_that_the_sections_use_have_the_classes_of_the_ui_file():
    classes = {widget.get("name"): widget.get("class") for widget in ElementTree.parse(UI).getroot().iter("widget")}
    widgets = declared(CONTEXT)["Widgets"]
    assert len(widgets) > 40
    assert {name: classes.get(name) for name in widgets} == widgets


def test_the_interfaces_declare_what_the_list_has_as_property_or_method(entries):
    listed = {(entry.owner.rpartition(".")[2], entry.name.split(" ")[0]): entry.kind for entry in entries}
    for owner, members in declared(INTERFACES).items():
        for name, annotation in members.items():
            kind = listed.get(("module" if owner == "qSlicerScriptedLoadableModule" else owner, name))
            expected = ("slot", "method") if annotation == "method" else ("property",)
            assert kind in expected, (owner, name, kind)


def test_every_import_from_slicer_is_in_the_list(entries):
    listed = {entry.name for entry in entries}
    for path in FACING:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "slicer":
                assert {alias.name for alias in node.names} <= listed, path


def test_every_entry_was_found_in_both_versions(entries):
    assert len({(entry.owner, entry.name) for entry in entries}) == len(entries)
    for entry in entries:
        name = re.split(r"[( ]", entry.name)[0]
        stem = name[3:] if name.startswith(("Get", "Set")) else name
        for evidence in (entry.in_5_8, entry.in_5_12):
            assert re.search(r"\.(h|py|cmake): |Qt 5\.15", evidence), entry
            assert stem in evidence or "Qt 5.15" in evidence or "QAbstractButton" in evidence, entry


def test_the_list_holds_no_name_that_nothing_uses(entries):
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*FACING, *CMAKE, UI])
    unused = [entry for entry in entries if not re.search(rf"\b{re.split(r'[( ]', entry.name)[0]}\b", text)]
    assert unused == []
