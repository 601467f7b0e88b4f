"""Read the published networks' pickled files without running them, and predict with them."""
