"""What a search remembers, and in which order."""
