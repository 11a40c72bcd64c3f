"""What stands between 3D Slicer and the core: nodes, dependencies, one run.  Nothing here needs Qt."""
