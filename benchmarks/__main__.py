"""Run the benchmarks, each in its own process: ``uv run --group bench python -m benchmarks [NAME …]``."""

from __future__ import annotations

import subprocess
import sys

EACH = (
    "pages",
    "server",
    "retrain",
    "encoders",
    "algorithms",
    "fields",
    "headers",
    "ingest",
    "projections",
    "map",
    "map_browser",
)


def main() -> int:
    failed = []
    for name in sys.argv[1:] or EACH:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
