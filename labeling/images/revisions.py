"""Track files that HOSHINA renders differently from earlier versions.

Pictures and feature vectors are cached under the hash of a file's content. If a newer version of HOSHINA renders the
same content differently, the revision becomes part of the hash, so that only these files are computed again. Ingest
determines the revision when it decodes a file, and stores it in ``Frame.revision``.
"""

from __future__ import annotations

import hashlib


def picture_hash(sha256: str, revision: int) -> str:
    """Return the hash, 64 digits, of the rendered content of a file: its own hash for revision 0."""
    return hashlib.sha256(f"{sha256} {revision}".encode()).hexdigest() if revision else sha256
