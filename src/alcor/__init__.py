"""Alcor: the network control plane of a cloud."""

__version__ = "0.1.0"
