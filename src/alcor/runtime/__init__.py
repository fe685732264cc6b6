"""Clock, randomness, supervision, event log: the only ways to the outside that every plane may use."""
