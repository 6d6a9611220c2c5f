"""Processes on this machine: the home folder, nats-server, and the supervisor that starts, watches and stops them.

It knows nothing of clusters or the federation's objects: who composes processes says what they are.
"""
