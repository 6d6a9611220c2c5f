"""The fleet: clusters as islands, the mesh between them, and one cluster seen closely. It owns these pages only."""
