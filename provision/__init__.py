"""Holdfast: own the whole stack, from the operating system to the answer."""

__version__ = "0.1.0"
