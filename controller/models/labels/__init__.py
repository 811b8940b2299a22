"""What is true of samples, for each kind of model: names of arrays, their forms, and what is refused."""
