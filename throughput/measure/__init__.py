"""What is measured: ready batches, phases, the ledger, telemetry, the environment."""
