"""Files that are shown otherwise than HOSHINA once showed them.

Pictures and vectors are kept under the hash of a file's content. Where a newer version of HOSHINA reads the same
content otherwise, its revision is part of the hash, so that they are made anew for these files alone. An ingest finds
the revision as it decodes a file; ``Frame.revision`` holds it.
"""

from __future__ import annotations

import hashlib


def picture_hash(sha256: str, revision: int) -> str:
    """64 digits that name what a file of that content shows: its own hash while it is shown as ever."""
    return hashlib.sha256(f"{sha256} {revision}".encode()).hexdigest() if revision else sha256
