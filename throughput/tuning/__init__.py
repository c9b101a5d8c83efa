"""Which workers, prefetch and other settings make a loader fastest here: a search within a time budget."""
