"""CEL, the expression language of validation rules, with Kubernetes' functions and Kubernetes' limits.

Owns checking an expression against the type of a schema (checker.py, the only door to the CEL library) and evaluating
what was checked (program.py) within a budget; must not know which rules there are nor word their failures: that is
schema_validations.py. Why the two are apart: docs/adr/0014.
"""
