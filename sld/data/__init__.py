"""Tables, cards, tasks and splits: from whatever people keep to checked columns of numbers."""
