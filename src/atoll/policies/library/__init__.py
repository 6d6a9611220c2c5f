"""Ready-made policies: plain manifests with a header that says what they do and what to change, and their tests.

`catalogue.py` reads them. They must stay valid for kubectl as they are.
"""
