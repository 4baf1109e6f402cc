"""The audit log: entries, queries, the hash chain, the outbox for outages, and approvals."""
