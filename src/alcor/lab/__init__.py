"""Emulated hosts for the demo, the tests and the benchmarks: Open vSwitch, workloads, packets."""
