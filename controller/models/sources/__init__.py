"""Where models come from: one kind of source a module, each of which writes files and says what they are."""
