"""Writes metrics into a table node, and a table node as CSV."""

from __future__ import annotations

import csv
import io
from typing import Dict, List, Optional, Union

import slicer
import vtk
from lvnet.image_io.write import atomic_file

from .interfaces import Json
from .masks import ComparedNode

Cell = Union[str, float, None]

#: Column headings, and keys of the result.
_COLUMNS = (
    ("Segmentation", None),
    ("Segment", "segment"),
    ("Reference", "reference_segment"),
    ("DICE", "dice"),
    ("VOE", "voe"),
    ("RVD", "rvd"),
    ("ASSD [mm]", "assd_mm"),
    ("MSSD [mm]", "mssd_mm"),
    ("Volume [ml]", "prediction_ml"),
    ("Reference volume [ml]", "reference_ml"),
    ("Preset", "preset"),
    ("Notes", None),
)
_TEXT = ("Segmentation", "Segment", "Reference", "Preset", "Notes")
#: A row with the same values in these columns is replaced.
_IDENTITY = ("Segmentation", "Segment", "Reference", "Preset")


def tableOfResult(
    result: Json, segmentation: ComparedNode, tableNode: Optional[slicer.vtkMRMLTableNode] = None
) -> slicer.vtkMRMLTableNode:
    """Writes a result into a table, one row per segment.

    An undefined value gives an empty cell, with the reason in the column Notes.

    Args:
        result: of :func:`~LVNetSegmentationLib.evaluating.evaluateNodes`.
        segmentation: the node that was scored; a new table is named after it.
        tableNode: gets a row, which replaces an earlier row of the same comparison; None adds a new
            table to the scene.
    """
    row: Dict[str, Cell] = {
        heading: str(result[key]) if heading in _TEXT else _number(result[key])
        for heading, key in _COLUMNS
        if key is not None
    }
    reasons = [f"{key}: {result[f'{key}_reason']}" for _, key in _COLUMNS if key and result.get(f"{key}_reason")]
    row["Segmentation"] = segmentation.GetName() or ""
    row["Notes"] = "; ".join([*result.get("notes", ()), *reasons])
    if tableNode is None:
        scene = segmentation.GetScene()
        tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{segmentation.GetName()} metrics")
    rows = [old for old in _rowsOf(tableNode) if any(old.get(key) != row[key] for key in _IDENTITY)]
    _fill(tableNode, [*rows, row])
    return tableNode


def exportTable(tableNode: slicer.vtkMRMLTableNode, path: str) -> None:
    """Writes a table as CSV with decimal points and commas, completely or not at all.

    Raises:
        ImageError: the file cannot be written there.
    """
    table = tableNode.GetTable()
    headings = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(headings)
    for row in range(table.GetNumberOfRows()):
        writer.writerow([_cell(table, row, column) for column in range(len(headings))])
    with atomic_file(path) as file:
        # The byte order mark tells spreadsheets that the file is UTF-8.
        file.write(b"\xef\xbb\xbf" + text.getvalue().encode("utf-8"))


def _rowsOf(tableNode: slicer.vtkMRMLTableNode) -> List[Dict[str, Cell]]:
    table = tableNode.GetTable()
    names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
    if names != [heading for heading, _ in _COLUMNS]:
        return []
    rows = []
    for row in range(table.GetNumberOfRows()):
        cells: Dict[str, Cell] = {}
        for column, name in enumerate(names):
            value = _cell(table, row, column)
            cells[name] = value if name in _TEXT or isinstance(value, float) else _number(value or None)
        rows.append(cells)
    return rows


def _fill(tableNode: slicer.vtkMRMLTableNode, rows: List[Dict[str, Cell]]) -> None:
    modified = tableNode.StartModify()
    tableNode.RemoveAllColumns()
    for heading, _ in _COLUMNS:
        cells = [row[heading] for row in rows]
        column: vtk.vtkAbstractArray
        if heading in _TEXT or any(cell is None for cell in cells):
            column = vtk.vtkStringArray()
            for cell in cells:
                column.InsertNextValue("" if cell is None else str(cell))
        else:
            column = vtk.vtkDoubleArray()
            for cell in cells:
                column.InsertNextValue(cell)
        column.SetName(heading)
        tableNode.AddColumn(column)
    tableNode.SetUseColumnTitleAsColumnHeader(False)
    tableNode.EndModify(modified)


def _cell(table: vtk.vtkTable, row: int, column: int) -> Cell:
    value = table.GetValue(row, column)
    return float(value.ToDouble()) if value.IsDouble() else value.ToString()


def _number(value: Union[str, float, None]) -> Optional[float]:
    return None if value is None else float(value)
