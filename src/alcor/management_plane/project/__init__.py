"""Projects: what the operator says of tenants."""
