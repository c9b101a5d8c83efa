"""How images arrive: one file per backend."""
