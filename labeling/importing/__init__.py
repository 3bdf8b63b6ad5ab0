"""Import labels from CSV files."""

from labeling.importing.class_spellings import NumbersQuestion
from labeling.importing.label_table import EXPECTED, Choice
from labeling.importing.save_table import Report, import_labels

__all__ = ["EXPECTED", "Choice", "NumbersQuestion", "Refusal", "Report", "import_labels"]
