"""The training step and what it is judged by."""
