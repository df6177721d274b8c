"""What is known of runs: a run's plan, its outcomes, leases and events in Redis or Valkey."""
