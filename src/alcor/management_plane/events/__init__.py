"""Events: what changed, for whoever follows, from the change log."""
