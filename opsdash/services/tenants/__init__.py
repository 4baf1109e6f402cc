"""Tenants: from the database to Redis without secrets, and where the two differ."""
