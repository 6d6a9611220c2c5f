"""The cluster's place in the Cilium Cluster Mesh, as its own parts tell it: agents, settings, health, services.

Owns reading and putting together; what it means for the federation is decided in federation/mesh and by the hub.
"""
