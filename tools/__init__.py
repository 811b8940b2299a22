"""Tools of the house: environments, locks, generated references. Nothing here is installed."""
