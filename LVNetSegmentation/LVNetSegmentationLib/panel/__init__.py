"""The parts of the panel, one per file; the module widget only assembles them.  Everything here requires Qt."""
