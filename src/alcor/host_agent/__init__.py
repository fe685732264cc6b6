"""The agent on every host: inbox, journal, data plane, reporter."""
