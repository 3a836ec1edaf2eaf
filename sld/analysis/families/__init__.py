"""Benchmark scores of models of several families: what they have in common, and what a new family will score."""
