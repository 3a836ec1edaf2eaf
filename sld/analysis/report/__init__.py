"""The report of a run folder, as text and tables."""
