"""Time on this host: who is timed beside whom (`clock`), and the turns in a process of their own (`race`)."""
