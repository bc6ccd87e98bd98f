"""Slurm's side: the plugin, the step's facts, the installation and the testbed."""
