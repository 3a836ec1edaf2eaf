"""Submissions and the leaderboard: what a law is worth on rows that no fit has seen, in numbers anyone can redo."""
