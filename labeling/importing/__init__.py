"""Labels in: reading a CSV file of decisions, and saving them."""

from labeling.importing.reading import EXPECTED, Choice, ImportProblem
from labeling.importing.saving import Report, import_labels
from labeling.importing.spellings import NumbersQuestion

__all__ = ["EXPECTED", "Choice", "ImportProblem", "NumbersQuestion", "Report", "import_labels"]
