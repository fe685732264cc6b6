"""Audit: what requests did, or were refused."""
