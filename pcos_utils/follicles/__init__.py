"""Outline and count follicles, by a network that phantoms taught."""
