"""Images on disk become one table of sources and folds."""
