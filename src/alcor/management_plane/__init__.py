"""What tenants ask for: who are you, may you, decide, commit."""
