"""Which MPI an image holds, whether the host's fits, and what replaces what.  Usable alone."""
