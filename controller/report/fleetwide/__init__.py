"""The report's section on the whole fleet: what any device of a class will see, and which devices stand out."""
