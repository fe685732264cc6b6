"""The seams between planes: Protocol classes and the messages that cross them."""
