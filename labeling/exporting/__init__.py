"""Export datasets as ZIP archives. Other packages register their sections here."""

from labeling.exporting.dataset import Export, refusal
from labeling.exporting.options import Options, parse_splits
from labeling.exporting.registry import Contribution, Section, register, sections
from labeling.exporting.zip_stream import Member

__all__ = ["Contribution", "Export", "Member", "Options", "Section", "parse_splits", "refusal", "register", "sections"]
