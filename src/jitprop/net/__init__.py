"""The settings of a net and of its training, and the state that training changes."""
