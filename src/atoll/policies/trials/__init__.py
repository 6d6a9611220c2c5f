"""Trials: policies judged offline, on workloads that a file states instead of a cluster.

Owns `*.policytest.yaml`, the fleet that such a file describes, and what is found out on it: outcomes, who may talk to
whom, which rules decide. Pure: what a fleet holds comes from the compiler, what it means from the verdict engine.
"""
