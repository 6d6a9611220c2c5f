"""Policies: manifests from Git, their meaning, and what each cluster shall hold of them.

Owns policy files, the compiler for each CNI, drift, the verdict engine and the ready-made `library/`. Its only I/O is
`bundle.py`: Git, and the names of its servers (`remotes/`). It must not talk to clusters, NATS or HTTP.
"""
