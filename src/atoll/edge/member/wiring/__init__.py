"""How the parts of the agent are put together: what all of them share, and what each kind of order is kept by."""
