"""For learning backpropagation: every number of a step, its formula, and a check of gradients."""
