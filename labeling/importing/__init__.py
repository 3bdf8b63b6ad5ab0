"""Import labels from CSV files."""

from labeling.importing.class_spellings import NumbersQuestion
from labeling.importing.label_table import EXPECTED, Choice, ImportProblem
from labeling.importing.save_table import Report, import_labels

__all__ = ["EXPECTED", "Choice", "ImportProblem", "NumbersQuestion", "Report", "import_labels"]
