"""Talks to a region over its API, for the commands, the demonstration and the benches."""
