"""Tells the compute service what becomes of its servers' ports."""
