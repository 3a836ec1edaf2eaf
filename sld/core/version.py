"""The version: the one place that says it; the build reads this file, and entries and fetched tasks quote it."""

__version__ = "0.12.0"
