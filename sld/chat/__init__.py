"""Talking to a language model over HTTP: calls, cost, what was said; knows nothing of searching."""
