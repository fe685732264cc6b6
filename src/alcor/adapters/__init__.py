"""The only rooms that see the libraries: PostgreSQL, HTTP, streams."""
