"""The operating system's side of a process: streams, signals, forks, garbage collection, the name it was called by."""
