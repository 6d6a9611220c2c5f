"""Faults on purpose: what may break in a sandbox, which faults stand, and the places where they take hold.

Owns them for simulated clusters only; must not know the command line.
"""
