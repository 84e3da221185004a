"""The declaration: loads an Ansible YAML inventory and says everything that is wrong with it.

Nothing here contacts a node. Names that other rooms own (profiles, models, images, engines) are
passed in.
"""
