"""The `alcor` command."""
