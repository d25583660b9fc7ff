"""What is added to an objective: penalties on a code, a network or a gradient."""
