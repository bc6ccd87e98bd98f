"""The C core and the programs built from it."""
