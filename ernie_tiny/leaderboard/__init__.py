"""The files that CLUE's and GLUE's sites read, and their checks."""
