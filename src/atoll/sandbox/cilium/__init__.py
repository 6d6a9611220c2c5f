"""The stand-in for Cilium's agent and the Cluster Mesh between simulated clusters.

Owns what the agent API and the operator say of links, endpoints and policies; must not enforce anything.
"""
