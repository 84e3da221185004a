"""Probes: what runs on a node to see its state. They look, print JSON and judge nothing.

Shipped to the node as text and run there by its own Python (3.9 or newer, standard library only);
`common` is the only module of provision that a probe may import.
"""
