"""Pictures of synthetic scans: slices with outlines, and the panel beside them."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np
from PySide6 import QtCore, QtGui
from scipy import ndimage

Outline = Tuple[np.ndarray, Tuple[int, int, int]]

WINDOW = (-140.0, 260.0)


def slice_picture(scan: Any, outlines: Sequence[Outline], axis: int, index: int, height: int) -> QtGui.QImage:
    """One slice in grey with outlines in colour.

    Args:
        scan: a Volume whose axes point left, posterior and superior.
        outlines: masks (z, y, x) and colours.
        axis: 0 axial, 1 coronal.
        index: of the slice.
        height: of the picture, pixels; the width follows from the spacing.
    """
    spacing = [step for number, step in enumerate(scan.spacing) if number != axis]
    plane = np.take(scan.array, index, axis=axis).astype(float)
    zoom = (height / plane.shape[0], height * spacing[1] / (spacing[0] * plane.shape[0]))
    grey = ndimage.zoom(np.clip((plane - WINDOW[0]) / (WINDOW[1] - WINDOW[0]), 0, 1), zoom, order=1)
    picture = np.repeat((255 * np.clip(grey, 0, 1)).astype(np.uint8)[:, :, None], 3, axis=2)
    for mask, colour in outlines:
        inside = ndimage.zoom(np.take(mask, index, axis=axis).astype(float), zoom, order=1) > 0.5
        edge = inside & ~ndimage.binary_erosion(inside, iterations=2)
        picture[edge] = colour
    if axis == 1:
        picture = picture[::-1]
    picture = np.ascontiguousarray(picture)
    rows, columns, _ = picture.shape
    return QtGui.QImage(picture.tobytes(), columns, rows, 3 * columns, QtGui.QImage.Format.Format_RGB888).copy()


def beside(panel: QtGui.QPixmap, pictures: List[QtGui.QImage], background: QtGui.QColor) -> QtGui.QImage:
    """The panel on the left and the pictures one below another on the right."""
    gap = 10
    width = panel.width() + 3 * gap + max(picture.width() for picture in pictures)
    height = max(panel.height() + 2 * gap, gap + sum(picture.height() + gap for picture in pictures))
    sheet = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB888)
    sheet.fill(background)
    painter = QtGui.QPainter(sheet)
    painter.drawPixmap(gap, gap, panel)
    top = gap
    for picture in pictures:
        painter.drawImage(QtCore.QPoint(panel.width() + 2 * gap, top), picture)
        top += picture.height() + gap
    painter.end()
    return sheet


def dark_palette() -> QtGui.QPalette:
    """Light on dark, as in Slicer's dark style."""
    palette = QtGui.QPalette()
    role = QtGui.QPalette.ColorRole
    for kind, grey in (
        (role.Window, 53),
        (role.Base, 35),
        (role.AlternateBase, 45),
        (role.Button, 60),
        (role.ToolTipBase, 40),
        (role.Light, 80),
        (role.Mid, 70),
        (role.Dark, 30),
        (role.Shadow, 20),
    ):
        palette.setColor(kind, QtGui.QColor(grey, grey, grey))
    for kind in (role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.BrightText):
        palette.setColor(kind, QtGui.QColor(230, 230, 230))
        palette.setColor(QtGui.QPalette.ColorGroup.Disabled, kind, QtGui.QColor(125, 125, 125))
    palette.setColor(role.Highlight, QtGui.QColor(42, 130, 218))
    palette.setColor(role.HighlightedText, QtGui.QColor(255, 255, 255))
    return palette
