"""What an agent needs in its cluster or on its host, and what a hub and its NATS begin with. Pure.

It must not reach a cluster or the hub; who applies what it makes is the command line's business.
"""
