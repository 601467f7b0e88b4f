"""From numbers to words, figures and a report."""
