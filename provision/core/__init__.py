"""Ground floor: positions and problems, exit codes, whole-file writes, locks, events, paths.

Nothing here knows what a rack is, and nothing here imports another room of the house.
"""
