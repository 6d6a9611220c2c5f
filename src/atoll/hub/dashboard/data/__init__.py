"""Pages about data: gateways and what waits in them, datasets and their ledgers, copies under way."""
