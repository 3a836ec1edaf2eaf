"""Entries of the leaderboard: submitted, stored, verified, ranked."""
