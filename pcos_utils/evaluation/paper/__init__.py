"""The report as a paper: its sections, numbered tables and figures, cards, sheets and checklists."""
