"""One module a suite: what is run, and how its output is read."""
