"""Export formats, one a file: what a model file takes and gives, read from the file itself.

Decides: how a signature is read and which files are refused unread. Leaves out: what is done with the model
(`controller/compress`) and what surrounds it (`controller/models`). Maps files to facts; knows no broker and no fleet.
"""
