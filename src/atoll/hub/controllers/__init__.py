"""One controller per kind: from what is wanted and what was reported to orders and statuses."""
