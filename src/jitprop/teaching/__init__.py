"""Every number of backpropagation, to be looked at."""
