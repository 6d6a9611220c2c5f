"""The wire between hub and edge: subjects, tables, logs, envelopes, messages; the only door to nats-py.

Owns how bytes travel and what they mean; it must not know what hub or edge do with them.
"""
