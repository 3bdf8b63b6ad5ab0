"""Find the layouts of exports: classes that packages name as entry points ``hoshina.exporters``, ours as well."""

from labeling.exporting.layouts.base import Layout, Loading
from labeling.exporting.layouts.registry import layout_named, layouts

__all__ = ["Layout", "Loading", "layout_named", "layouts"]
