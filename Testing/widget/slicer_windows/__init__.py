"""A stand-in for the windows of 3D Slicer, for tests of the panel.

Slicer's own Python accesses Qt through PythonQt.  Here, PySide6 imitates PythonQt, only as far as this
module uses it:

- `qt` and `ctk`: the classes that the panel and its .ui file name;
- `slicer.qMRMLWidget`, `slicer.qMRMLNodeComboBox`, `slicer.app`, `slicer.i18n`, `slicer.parameterNodeWrapper`,
  `slicer.ScriptedLoadableModule` and the GUI functions of `slicer.util`;
- everything else in `slicer` is real: nodes, scene, events and logics come from slicer-core.

A panel that works here uses these names correctly; `api_names.txt` and its test check that the names exist in Slicer
with these signatures.  A final check needs a real Slicer.
"""
