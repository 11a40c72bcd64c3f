"""The layer between 3D Slicer and the core: nodes, dependencies, runs.  Only `panel` requires Qt."""
