"""Find the source picture behind each image of any folder."""

from pcos_utils.audit.sources import find_sources

__all__ = ["find_sources"]
