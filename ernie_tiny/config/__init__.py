"""YAML files into frozen, validated values. Imports no Paddle, and of the project only what stands on floor 0."""

from ernie_tiny.config.load import load_config, load_run, to_yaml
from ernie_tiny.config.schema import RunConfig

__all__ = ["RunConfig", "load_config", "load_run", "to_yaml"]
