"""Predictions become evidence; only ``explain`` and ``saliency_checks`` import torch."""
