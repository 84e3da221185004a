"""Judges a tree that does not run: OpenSCAP with the distribution's content, and our own checks.

What only a running system shows is left to the scan after the first boot, and is named.
"""
