"""Files: written whole or not at all, checked when they are read, and nothing that they contain is ever executed."""
