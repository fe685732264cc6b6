"""Puts this folder on the path, so that tests of all kinds share what is in `doubles`, and its fixtures."""

import os

from hypothesis import settings

from postgres_fixture import postgres_dsn, postgres_server, postgres_store

__all__ = ["postgres_dsn", "postgres_server", "postgres_store"]

# What gates a landing draws the same examples each time; everybody else's runs look for new ones. No deadline:
# these machines are shared, so that time is no test.
settings.register_profile("landing", derandomize=True, deadline=None)
settings.register_profile("searching", deadline=None, print_blob=True)
settings.load_profile("landing" if os.environ.get("CI") else "searching")
