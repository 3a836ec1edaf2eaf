"""Reinforcement learning: bounded curves in compute, recipes compared, and the chain of laws of value-based methods."""
