"""Read the files of other programs as tables, one module for each format."""
