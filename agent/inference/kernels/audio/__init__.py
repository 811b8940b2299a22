"""Sound: frames of a waveform, their spectra, mel bands, logarithm, cosine transform.

Sixteen frames are worked on side by side, one in each lane of the processor's vectors: a row of `LANES` numbers holds
the same sample, frequency or band of sixteen frames. So every step is the same plain loop over a row, and nothing is
shuffled. Indices into rows are unsigned, since a signed one might count from the array's end: compilers then keep a
test for that in the innermost loop and give up on vectors.
"""
