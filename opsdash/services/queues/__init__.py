"""Queues: what waits in each, clearing and restoring, and what a preview of a clear says."""
