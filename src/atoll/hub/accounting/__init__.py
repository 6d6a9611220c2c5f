"""Accounting: what runs took, kept when they, their jobs and their clusters are gone.

Owns the records (one per run and day), their sums by day, and how both are stored. It must not decide who may start:
budgets are judged in federation/queueing, by the sums from here. Records are written by the leading hub, before it says
that a run has ended; every hub reads them.
"""
