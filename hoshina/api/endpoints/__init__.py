"""Define the endpoints of version 1: thin functions that call what pages and commands call."""
