"""Run the management commands: as ``hoshina``, ``python -m hoshina`` or ``manage.py``."""

from __future__ import annotations

import os
import sys
from importlib import metadata

COMMAND = "hoshina"


def main() -> None:
    """Run the management command that the command line names."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    if sys.argv[1:] in (["--version"], ["version"]):
        print(metadata.version("hoshina"))
        return
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line([COMMAND, *sys.argv[1:]])
        sys.stdout.flush()
    except ImproperlyConfigured as error:
        from hoshina.core.commands import print_failure, wants_json

        print_failure(f"Wrong setting: {error}", as_json=wants_json(sys.argv))
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of the output (head, less) has closed it. Python flushes at exit, so send the rest to devnull.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
