"""Puts this folder on the path, so that tests of all kinds share what is in `doubles`."""
