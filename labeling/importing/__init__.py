"""Labels in: reading a CSV file of decisions, and saving them."""

from labeling.importing.reading import EXPECTED, ImportProblem
from labeling.importing.saving import Report, import_labels

__all__ = ["EXPECTED", "ImportProblem", "Report", "import_labels"]
