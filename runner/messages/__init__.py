"""A plan to Celery's messages: what is sent, how a fan-out is cut into batches, and what no worker could read."""
