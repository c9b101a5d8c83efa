"""The gate: is the head of a change slower than its base? Both are measured in turn, in one run."""
