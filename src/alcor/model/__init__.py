"""The nouns: frozen values and the rules inside them. Pure: no I/O, no clock, no randomness."""
