"""Who is alive, who is not and why, and who helps: the failure detector and the rescue path."""
