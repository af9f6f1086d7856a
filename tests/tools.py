"""The files of tools/, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def tool(name: str, *arguments: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """What tools/NAME.py says, which is to leave with this code."""
    command = [sys.executable, f"tools/{name}.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)
    assert done.returncode == code, f"{' '.join(command)} left with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done
