"""Puts this folder on the path, so that tests of all kinds share what is in `doubles`, and its fixtures."""

from postgres_fixture import postgres_dsn, postgres_server, postgres_store

__all__ = ["postgres_dsn", "postgres_server", "postgres_store"]
