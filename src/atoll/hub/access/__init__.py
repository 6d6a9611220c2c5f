"""Who may do what, and who did it: credentials, roles, and the audit records.

Owns how a caller is known, what is granted to them, and what is remembered of their changes. It must not know what the
objects mean that are written, except for the queue that a job names.
"""
