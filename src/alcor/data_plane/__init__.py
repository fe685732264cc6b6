"""Forwarding on a host: the pipeline as data, and the data planes that carry it out."""
