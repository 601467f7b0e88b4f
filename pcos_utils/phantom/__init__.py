"""Simulate B-mode images of ovaries whose follicles are known."""
