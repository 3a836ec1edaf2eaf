"""Submitted programs, run in a child that may do nothing but compute."""
