"""Training: its step, the loop around it, what it is judged by, and what is kept of it."""
