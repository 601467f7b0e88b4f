"""Pixels become weights and predictions; this room knows nothing of what is done with them."""
