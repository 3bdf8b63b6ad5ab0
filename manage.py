#!/usr/bin/env python
"""The one entry point: ``manage.py up FOLDER`` starts everything."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hoshina.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except ImproperlyConfigured as error:
        from hoshina.core.commands import print_failure, wants_json

        print_failure(f"Wrong setting: {error}", as_json=wants_json(sys.argv))
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output (head, less) has seen enough; nothing is left to say at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
