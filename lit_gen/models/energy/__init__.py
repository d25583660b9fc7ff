"""Energy-based models: restricted Boltzmann machines."""
