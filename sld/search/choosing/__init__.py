"""From what a search remembers to what it hands back: the choice, its support, the verdict."""
