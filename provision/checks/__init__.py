"""Verification on a node: checks that read effective state, and the verdict made of them.

`declaration` says what each node should be, from rack and lock alone; `probes` look at a node and
judge nothing; `test_*.py` hold one check per function, one file per role; `plugin` turns test
outcomes into findings; `verify` runs all of it; `report` builds the verdict and writes it down.
"""
