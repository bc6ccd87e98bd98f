"""A throwaway Slurm of several nodes on one machine."""

from slurm.testbed.cluster import Testbed, environment_of
from slurm.testbed.config import Mpi
from slurm.testbed.network import LinkCounters
from slurm.testbed.state import State, load, names
from slurm.testbed.teardown import down

__all__ = ["LinkCounters", "Mpi", "State", "Testbed", "down", "environment_of", "load", "names"]
