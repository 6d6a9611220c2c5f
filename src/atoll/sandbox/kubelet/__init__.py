"""The kubelet of simulated nodes: runs the containers of bound pods as local processes.

Owns processes, their logs, volumes as folders, and pod status; must not place pods or provision storage.
"""
