"""Notifications: what is noticed, the outbox in Redis, and how messages are sent."""
