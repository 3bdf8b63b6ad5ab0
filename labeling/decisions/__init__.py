"""Decisions about items: how the items came to be shown, and which of them were drawn at random."""
