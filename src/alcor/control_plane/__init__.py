"""From the change log to the hosts: intake, region, compiler, delivery, and how far the hosts are."""
