"""Predictions, metrics, the report."""
