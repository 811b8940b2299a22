"""The search for the best recipe of a model: candidates are composed, made, judged and timed until the time is over.

Decides: nothing here. `space` and `genome` say what can be tried, `examine` and `clock` what a candidate is worth,
`study` what to try next and what is known already, `loop` when it ends, `finish` what comes of it.
"""
