"""Queues: who holds how much of what they were given, and why their jobs wait. It owns these pages only."""
