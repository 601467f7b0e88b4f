"""Predictions become evidence; only ``explain`` imports torch."""
