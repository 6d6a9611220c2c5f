"""The stand-in for Cilium's agent and the Cluster Mesh between simulated clusters.

Owns what the agent API says; must not enforce anything.
"""
