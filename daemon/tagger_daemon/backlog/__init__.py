"""The durable queue: one row a photo, claimed under a lease."""
