"""Slurm batch scripts as Atoll Jobs: what their directives mean here, and what runs them in a container.

Owns the reading of a script, the table of sbatch's options and what becomes of each, and the Job. Pure: what the
environment and the clock say is handed in. It must not speak to a hub or print.
"""
