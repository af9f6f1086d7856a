"""Kinds of tasks: one file a kind, with all that is special about it. Start at kind.py."""
