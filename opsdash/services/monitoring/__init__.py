"""Monitoring: the snapshot, its poller, the history of the charts, metrics and frames."""
