"""Data sets out: what an export holds, how its bytes are made, and where other rooms add to it."""

from labeling.exporting.archive import Member
from labeling.exporting.dataset import Export, refusal
from labeling.exporting.options import OptionError, Options, parse_splits
from labeling.exporting.registry import Contribution, Section, register, sections

__all__ = [
    "Contribution",
    "Export",
    "Member",
    "OptionError",
    "Options",
    "Section",
    "parse_splits",
    "refusal",
    "register",
    "sections",
]
