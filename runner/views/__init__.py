"""A snapshot of a run to what people and programs read: the terminal, documents, drawings."""
