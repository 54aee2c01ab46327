"""What comes in, checked and cast."""
