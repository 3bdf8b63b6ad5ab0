"""Save decisions about items and changes of classes, with the provenance of each decision."""
