"""The Redis side: the client, the layout of Celery's keys, messages, and reads of a bounded size."""
