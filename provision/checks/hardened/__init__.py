"""Whether the controls of a profile are in force on a node, by what the node itself says.

Nothing here shares code with what applies the controls: it asks the kernel, systemd, sshd, PAM's
stack and the other programs that own a setting, and compares with the resolved controls.
"""
