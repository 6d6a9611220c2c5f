"""The page of audit records: who asked for what, and what came of it."""
