"""Attach tags, flags and notes to items."""
