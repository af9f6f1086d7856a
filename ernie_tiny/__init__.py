"""Distil Chinese ERNIE 3.0 models into students ten times smaller."""

__version__ = "0.1.0"
