"""What administrators say of hosts."""
