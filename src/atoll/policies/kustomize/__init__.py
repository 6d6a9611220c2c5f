"""Kustomizations in a policy folder: what they may say, which files they reach, how they are rendered and traced back.

What a rendered policy means is judged by `manifest.py` like any other; docs/adr/0039 says why kubectl renders.
"""
