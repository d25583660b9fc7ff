"""What is added to the losses of an adversarial game."""
