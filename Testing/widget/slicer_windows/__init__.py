"""A stand-in for the windows of 3D Slicer, for tests of the panel.

Slicer's own Python sees Qt through PythonQt.  Here PySide6 is dressed up as PythonQt, as far as this
module uses it and no further:

- `qt` and `ctk`: the classes that the panel and its .ui file name;
- `slicer.qMRMLWidget`, `slicer.qMRMLNodeComboBox`, `slicer.app`, `slicer.i18n`, `slicer.parameterNodeWrapper`,
  `slicer.ScriptedLoadableModule` and the windows' part of `slicer.util`;
- everything else of `slicer` is real: nodes, scene, events and logics come from slicer-core.

That the panel works here shows that it is consistent with these names; that the names exist in Slicer
with these signatures is what `api_names.txt` and its test are for.  Slicer itself has the last word.
"""
