"""Workflow files: the text of a file to a checked workflow and its plan. No Celery, no broker."""
