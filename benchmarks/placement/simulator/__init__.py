"""The placement simulator: work of a trace on a federation in virtual time, placed by Atoll and by baselines.

Owns the world that policies are compared in, and the measures. It must hold no scheduling code of Atoll's: the policy
`atoll` calls the hub's own cycle.
"""
