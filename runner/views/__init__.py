"""What is known of a run to what people and programs read: the terminal, reports, drawings."""
