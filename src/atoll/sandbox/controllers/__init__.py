"""The controllers of a simulated cluster.

Owns what Kubernetes' controller manager, scheduler and CSI provisioner do, in small; must not run containers.
"""
