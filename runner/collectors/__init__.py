"""The built-in tasks: plain Celery tasks, found by entry point as a user's are, one file a kind."""
