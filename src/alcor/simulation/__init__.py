"""A whole region in one thread, on virtual time, from one seed: real planes, faulty world between them."""
