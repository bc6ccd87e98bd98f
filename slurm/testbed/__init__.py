"""A throwaway Slurm of several nodes on one machine."""
