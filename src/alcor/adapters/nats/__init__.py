"""NATS: the queue path's server and clients."""
