"""Several processes as one: started by torchrun, each with its share of the samples. None of it without."""
