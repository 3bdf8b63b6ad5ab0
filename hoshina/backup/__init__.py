"""Save a store to one file and restore it: the database, and the files that cannot be computed again (ADR 42).

``archive`` reads and writes the file, ``contents`` selects what belongs in it, ``sqlite`` and ``postgresql`` copy the
database, and ``create`` and ``restore`` are the two ways.
"""
