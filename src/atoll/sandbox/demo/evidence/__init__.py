"""The checks behind the report: each reads files and API objects from outside and gives a Section with its claims."""

from atoll.sandbox.demo.evidence.section import Check, Section

__all__ = ["Check", "Section"]
