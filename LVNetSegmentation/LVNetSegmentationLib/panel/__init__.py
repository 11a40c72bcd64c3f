"""The panel in parts, one a file; the Widget only puts them together.  Everything here needs Qt."""
