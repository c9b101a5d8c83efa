"""How it is told: one file per output format."""
