"""Trunks: pure decisions, and the service that reads, decides and commits."""
