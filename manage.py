#!/usr/bin/env python
"""The command ``hoshina`` of a checkout: ``manage.py up FOLDER`` starts everything."""

from hoshina.__main__ import main

if __name__ == "__main__":
    main()
