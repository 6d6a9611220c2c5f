"""A federation on one machine: simulated clusters whose containers are local processes, and faults on purpose.

Owns the simulation and says everywhere that it is one; must not know hub internals. `main.run` hosts the clusters.
"""
