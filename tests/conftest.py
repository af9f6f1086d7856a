"""Sets Paddle up as the tools do, before any test imports it."""

from ernie_tiny.runtime import prepare

prepare("cpu")
