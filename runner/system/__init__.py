"""What the operating system gives this process: streams, signals, forks, its name."""
