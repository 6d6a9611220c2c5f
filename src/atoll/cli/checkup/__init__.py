"""`atoll doctor`: what is examined, what is found, and what to do about it. It changes nothing."""
