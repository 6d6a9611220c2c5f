"""What an agent needs in its cluster or on its host: manifests, rights and units. Pure.

It must not reach a cluster or the hub; who applies what it makes is the command line's business.
"""
