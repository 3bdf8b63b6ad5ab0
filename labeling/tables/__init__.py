"""Tables that people bring: CSV files of labels or metadata, all read in one way, and their items found."""
