"""Short trainings for many candidates, long ones for few."""
