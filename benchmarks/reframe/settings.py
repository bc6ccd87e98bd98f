"""Example of ReFrame's settings for bareboat_bench.py: change names and options to your site's."""

site_configuration = {
    "systems": [
        {
            "name": "example",
            "hostnames": [".*"],
            "partitions": [
                {
                    # `bareboat bench run` runs where ReFrame does, and asks Slurm for nodes itself.
                    "name": "login",
                    "scheduler": "local",
                    "launcher": "local",
                    "environs": ["builtin"],
                    "max_jobs": 1,
                },
                {
                    # ReFrame submits a job, and `bareboat bench run` measures in that job's allocation.
                    "name": "nodes",
                    "scheduler": "squeue",  # "slurm" where sacct(1) works
                    "launcher": "srun",
                    "access": [],  # for example "--partition=compute", "--account=staff"
                    "environs": ["builtin"],
                    "max_jobs": 1,
                },
            ],
        },
    ],
}
