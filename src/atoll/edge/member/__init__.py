"""The member agent: one per cluster. Carries out the hub's orders through the cluster's API server and reports what is.

Owns the doors to `kubernetes.aio` (kube.py) and to the Cilium agent (cilium.py). It must not know the hub's kinds of
work beyond the wire messages, and it cannot tell a real API server from a simulated one.
"""
