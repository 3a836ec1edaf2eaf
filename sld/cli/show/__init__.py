"""How results look: as text for people, or as the one JSON document of the command."""
