"""Looks for what must not be in an image: identity, secrets, leftovers, and what would not start.

Every check is a file of its own in `checks/`. They run where owners are true, inside the sandbox,
and only say what they found; `provision.image.lint.judge` makes findings of that.
"""
