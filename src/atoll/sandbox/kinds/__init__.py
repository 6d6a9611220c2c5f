"""The Kubernetes kinds that simulated clusters serve.

Owns schemas, defaults and printer columns of Kubernetes' own kinds; must not read or write objects, nor serve them.
"""
