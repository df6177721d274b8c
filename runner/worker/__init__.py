"""What a worker does with a step: claim it, call its task, record its outcome."""
