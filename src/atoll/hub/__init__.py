"""The hub: keeps what people want, decides where work runs, and tells members what to do. It never dials a member."""
