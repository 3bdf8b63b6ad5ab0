"""Manage whole datasets: rename, archive and delete them."""
