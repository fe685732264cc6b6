"""Brings sections to agents and knows what each has acknowledged."""
