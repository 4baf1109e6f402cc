"""Everything that touches Redis, Celery or the database. ``console.py`` is the one place that writes on request."""
