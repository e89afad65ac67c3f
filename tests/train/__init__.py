"""Real trainings and what they rest on."""
