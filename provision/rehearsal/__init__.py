"""A simulated rack on one machine: real Linux systems as nodes, for trying Holdfast and testing it.

Nothing here is used when Holdfast provisions hardware. The rehearsal builds nodes, artefacts and
an inventory, and then calls the same verbs that a real rack is provisioned with.
"""
