"""The command line: one module a tool, which says what arguments it takes and hands them to one function below."""
