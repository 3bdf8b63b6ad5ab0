"""Export the record of all decisions, and restore it in another store."""
