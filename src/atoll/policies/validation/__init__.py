"""What a policy file may contain: structure, values and the rules that Cilium's and Kubernetes' own checks apply.

Pure. It must not read files and must not know lines of text: it speaks of fields, `manifest.py` finds their lines.
"""
