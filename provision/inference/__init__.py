"""Inference: asks the nodes of a rack for an answer, as a client on the network would."""
