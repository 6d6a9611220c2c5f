"""Pages about policies: what is proven where, how far a commit has come, who may talk to whom."""
