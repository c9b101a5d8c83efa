"""Which images exist: a folder of class folders, tar shards, or photos made for the purpose."""
