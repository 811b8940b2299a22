"""What a worker is kept from: the network, other processes, and every file but its own.

Decides: nothing itself; `confine.py` is the way in. Its parts: system calls (`seccomp.py`), files (`landlock.py`,
`paths.py`), user and capabilities (`identity.py`), variables (`environment.py`). Workers load it before anything else,
so it is light; it needs no library.
"""
