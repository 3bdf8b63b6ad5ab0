"""Recognize, by their names, files that hold images within themselves and are not read as images."""

from __future__ import annotations

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_OTHER_ARCHIVES = (".7z", ".rar", ".tar.zst")
_TABLES = (".parquet", ".arrow", ".tfrecord", ".tfrecords")
_ARRAYS = (".h5", ".hdf5", ".he5")
CONTAINERS = (*ARCHIVES, *_OTHER_ARCHIVES, *_TABLES, *_ARRAYS)


def is_archive(name: str) -> bool:
    """Return whether a file is an archive that can be unpacked."""
    return name.lower().endswith(ARCHIVES)


def container_problem(name: str) -> str:
    """Return why a file is not read and what to do; empty if its name is not that of a container."""
    lower = name.lower()
    if lower.endswith(ARCHIVES):
        return "Images within archives are not read. Unpack it here, or run hoshina ingest --unpack with its path."
    if lower.endswith(_OTHER_ARCHIVES):
        return "Images within archives are not read. Unpack it here, then rescan."
    if lower.endswith(_TABLES):
        return "Images within tables are not read. Save them as image files, for example with the datasets library."
    if lower.endswith(_ARRAYS):
        return "Images within HDF5 files are not read. Save each as a TIFF, PNG or FITS file, then rescan."
    return ""
