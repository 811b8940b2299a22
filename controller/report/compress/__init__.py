"""The report of a search for recipes: a document for programs, a page for people, the front's recipes as files."""
