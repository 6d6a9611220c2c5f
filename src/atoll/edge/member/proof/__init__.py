"""Proof that the policies of a set are enforced: what Cilium's agents say, and on which rung of the ladder that is.

Owns the ladder (ladder.py, pure). It applies nothing; without an engine that can be asked it claims nothing.
"""
