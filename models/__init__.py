"""What the images feed: CNNs by name."""
