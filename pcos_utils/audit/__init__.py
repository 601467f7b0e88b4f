"""Find the source picture behind each image of any folder."""
