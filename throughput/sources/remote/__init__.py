"""Shards that lie on a server: read by ranges, ahead of need, through a bounded cache on a local disk."""
