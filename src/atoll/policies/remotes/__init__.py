"""Repositories on other machines: how a URL is read, where the hub's Git may go, and how git is held to that.

Owns the whole control against a PolicySet that makes the hub reach what its author cannot (SSRF). It must not fetch.
"""
