"""The one exception that means "what you gave is wrong"."""


class InputError(Exception):
    """A fault in a config, a data file, a model folder or the installation that the user can mend.

    The message says what is wrong, where (file, line, key or shape) and what to do. Tools print it
    without a traceback and leave with exit code 2; anything else that is raised is a bug.
    """
