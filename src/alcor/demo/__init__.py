"""The demonstration: a region, tenants, ports and packets, measured and checked."""
