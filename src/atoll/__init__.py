"""Atoll: a hybrid edge-to-cloud federation controller. README.md says what each room owns."""

__version__ = "0.1.0"
