"""Free addresses of subnets, from blocks leased to this process."""
