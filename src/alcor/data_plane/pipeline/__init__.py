"""From a host's goal state to flows: pure, shared by every flow-based data plane."""
