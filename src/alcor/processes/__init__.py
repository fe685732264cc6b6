"""One file per deployable: wiring only."""
