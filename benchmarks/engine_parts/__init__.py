"""Parts of the benchmark `engines`, a module each."""
