"""Other toolkits beside this one: the same model, samples, engine and thread, each in an environment of its own."""
