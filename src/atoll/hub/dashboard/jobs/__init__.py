"""Jobs: the list, where they ran and when, and one job with its decision and its log. It owns these pages only."""
