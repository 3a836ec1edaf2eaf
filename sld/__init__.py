"""Discover scaling laws."""
