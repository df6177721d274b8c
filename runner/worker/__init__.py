"""What a worker does with a step: claim it, call its task, record what came of it."""
