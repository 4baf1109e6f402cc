"""Failed tasks: noted when they fail, written to Redis in their own thread, in bounds, without secrets."""
