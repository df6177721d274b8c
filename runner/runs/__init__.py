"""A run from outside the worker: started, followed, resumed, executed again, with a worker of its own."""
