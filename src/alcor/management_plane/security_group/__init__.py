"""Security groups and their rules: pure decisions, and the service that reads, decides and commits."""
