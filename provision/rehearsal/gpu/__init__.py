"""Simulated GPUs: a driver with NVML's interface, and the PCI and /proc trees that go with it.

Nothing here drives or comes from a GPU. A library with NVML's ABI is built on the spot; what it
answers stands in one state document, which may be changed while something reads it. Each surface
(PCI tree, kernel module, library, NVML call, fabric, kernel log) can be made to fail alone.
"""
