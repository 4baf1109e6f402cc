"""Failed tasks: noted when they fail, written to Redis in a thread of their own, in bounds, without secrets."""
