"""A data plane in memory: the same flows, interpreted. Oracle of the tests and engine of `alcor trace`."""
