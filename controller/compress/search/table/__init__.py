"""The learned latency table: what a class's trials say of operators, and what that says of files nobody measured.

Decides: nothing here. `features` reads files, `fit` learns, `checked` says whether what was learned may be used,
`shelf` keeps the points from search to search.
"""
