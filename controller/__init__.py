"""The controller: compresses, tries, chooses and rolls out models over a fleet."""
