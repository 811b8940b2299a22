"""Which methods fit a model, in words: what is known (`facts.py`, `sensitive.py`), and what follows (`words.py`)."""
