"""The node-side audit: what a GPU node shows about its own health.

It runs on a node, so it is Python 3.9, the standard library and the locked nvidia-ml-py, imports
nothing else of `provision`, and ships as one file (`provision.health.build`).

Three steps. *Probes* look: each in a child process with a deadline, so that a hanging driver can
stop neither the audit nor another probe. *Checks* judge what was seen, without looking again.
The *result* says for each check what was expected, what was seen, what to do and what clears it.
"""

VERSION = "1"
"""Version of the result document and of the declaration that the audit reads."""
