"""The commands: one file per family, and how results look."""
