"""One runner for all benchmarks: what is measured, how often, what is told of it, and two commits side by side."""
