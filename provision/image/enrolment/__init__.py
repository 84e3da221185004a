"""How a node that was started from nothing becomes one of the inventory's.

`program` runs on the node and claims; `desk` judges claims, `service` lets them in over HTTP.
docs/decisions/0010-identity-by-a-claim.md says why it goes this way.
"""
