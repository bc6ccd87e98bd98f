"""From a request to ranks in a container: probe, plan, program, apply."""
