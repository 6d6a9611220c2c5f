"""The demo: the whole mission once, on one machine, with a real recording, and a check of every claim it makes.

It uses the federation from outside only: MQTT, the hub's API, the clusters' APIs, Git, and the files that result.
"""
