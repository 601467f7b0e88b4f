"""Find the source picture behind each image of any folder."""

__all__ = ["find_sources"]


def __getattr__(name: str):
    """Import ``find_sources`` when it is asked for: the audit's processes start faster without pandas."""
    if name in __all__:
        from pcos_utils.audit.sources import find_sources

        return find_sources
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
