"""Find near-duplicates in a dataset, so that no export has copies of one picture in different splits."""
