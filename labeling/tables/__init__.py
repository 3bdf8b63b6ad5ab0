"""Read CSV files of labels or metadata, and find the items that their rows are about."""
