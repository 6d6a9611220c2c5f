"""One module per family of CNI: how a manifest must be written so that it means there what its file says. Pure."""
