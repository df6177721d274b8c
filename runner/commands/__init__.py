"""One file a command; `cli.py` picks them up by their names."""
