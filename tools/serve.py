import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, installed or not
from ernie_tiny.cli.command import run_command

if __name__ == "__main__":
    run_command("serve")
