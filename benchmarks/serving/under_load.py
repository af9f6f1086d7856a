#!/usr/bin/env python3
"""What tools/serve.py keeps of its engine's speed when many clients ask at once, on this machine alone.

    python benchmarks/serving/under_load.py --model output/a/export/tnews --seconds 60 [--threads 2] [--engine paddle]

For each shape of request (texts x tokens) it starts the server, lets 64 clients ask without a pause (load.py, whose
own processor time is stated: it runs on the same cores), ends the server by SIGTERM in the middle of the last load, and
prints a line. The measure is Predictor in a process alone, with the same engine, threads and texts, before and after.
"kept" is the server's texts a second by the predictor's; beside it the same by processor second of the server.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
import numpy as np  # noqa: E402

from ernie_tiny.data.tokenizer import load_tokenizer  # noqa: E402
from ernie_tiny.files import to_json  # noqa: E402
from ernie_tiny.runtime import processor  # noqa: E402

SHAPES = ((16, 128), (1, 32))  # texts a request, tokens a text
BODIES = 64  # that differ
SETTLED = 10.0  # seconds after which memory should not grow any more
ALONE = """
import json, sys, time
from pathlib import Path
from ernie_tiny.runtime import prepare
folder, texts, threads, engine, precision, seconds = json.load(sys.stdin)
prepare("cpu", threads)
from ernie_tiny import Predictor
predictor = Predictor(Path(folder), threads, engine=engine, precision=precision)
predictor.predict(texts)
began, processor, count = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - began < seconds:
    count += len(predictor.predict(texts))
print(json.dumps([count, time.perf_counter() - began, time.process_time() - processor]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of tools/export.py, of a task of one text")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each load")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", default="paddle")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--shapes", nargs="+", default=[f"{texts}x{tokens}" for texts, tokens in SHAPES])
    parser.add_argument("--output", type=Path, help="a JSON file for all numbers")
    args = parser.parse_args()
    print(f"{processor().name}, {args.threads} threads, {args.engine} {args.precision}, {args.connections} clients")
    records = [measure(args, *map(int, shape.split("x"))) for shape in args.shapes]
    if args.output is not None:
        args.output.write_text(to_json(records, indent=1) + "\n", encoding="utf-8")


def measure(args: argparse.Namespace, texts: int, tokens: int) -> dict[str, Any]:
    """The numbers of one shape of request; prints them."""
    made = made_texts(args.model, BODIES * texts, tokens)
    before = alone(args, made)
    with Server(args) as server:
        found = server.load(made, texts, args.connections, args.seconds)
        ended = server.load(made, texts, args.connections, 5.0, end_after=2.5)
    after = alone(args, made)
    texts_per_second = found["statuses"].get("200", 0) * texts / found["took_seconds"]
    per_processor = found["statuses"].get("200", 0) * texts / found["server_processor_seconds"]
    engine, engine_per_processor = ((one + other) / 2 for one, other in zip(before, after))
    p50, p95, p99 = np.percentile(found.pop("seconds"), (50, 95, 99)) * 1000
    record = {
        "request": f"{texts} x {tokens}",
        "texts_per_second": texts_per_second,
        "kept": texts_per_second / engine,
        "kept_by_processor_second": per_processor / engine_per_processor,
        "milliseconds": {"p50": p50, "p95": p95, "p99": p99},
        "errors": errors(found),
        "predictor_texts_per_second": [before[0], after[0]],
        **found,
        "end": {"errors": errors(ended), **{key: ended[key] for key in ("statuses", "lost", "server_answers", "exit")}},
    }
    print(to_json({key: _rounded(value) for key, value in record.items()}, indent=1), flush=True)
    return record


def errors(found: dict[str, Any]) -> int:
    """Questions that got neither an answer nor 429; one that met the server's end may get 503."""
    return found["lost"] + sum(count for status, count in found["statuses"].items() if status not in ("200", "429"))


def made_texts(model: Path, count: int, tokens: int) -> list[str]:
    """Texts of so many tokens each, [CLS] and [SEP] included, of the Chinese characters of a model's vocabulary."""
    vocabulary = load_tokenizer(model).tokens
    characters = [token for token in vocabulary if len(token) == 1 and "\u4e00" <= token <= "\u9fa5"]
    chosen = np.random.default_rng(0).choice(characters, (count, tokens - 2))
    return ["".join(row) for row in chosen]


def alone(args: argparse.Namespace, texts: list[str]) -> tuple[float, float]:
    """Texts a second, and texts a processor second, of a predictor in a process of its own."""
    given = to_json([str(args.model), texts[:512], args.threads, args.engine, args.precision, args.seconds / 6])
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, input=given, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    count, seconds, processor_seconds = json.loads(done.stdout)
    return count / seconds, count / processor_seconds


class Server:
    """tools/serve.py in a process of its own; as a context it ends with it."""

    def __init__(self, args: argparse.Namespace) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "log.jsonl"
        options = ["--port", self.port, "--threads", args.threads, "--engine", args.engine]
        command = [*("tools/serve.py", "--models", f"model={args.model}", *options), "--precision", args.precision]
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stderr=log)

    def __enter__(self) -> Server:
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready"):
                    return self
            except OSError:
                time.sleep(0.1)
        log = self._log.read_text(encoding="utf-8")
        self.__exit__()
        raise SystemExit(f"the server did not come up within a minute; its log:\n{log}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def load(
        self, texts: list[str], size: int, connections: int, seconds: float, end_after: float | None = None
    ) -> dict[str, Any]:
        """What load.py found, with the server's memory and processor seconds.

        Args:
            end_after: Seconds until SIGTERM. Then also how many requests the server says it answered, and its exit.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as bodies:
            starts = range(0, len(texts), size)
            bodies.writelines(to_json({"texts": texts[start : start + size]}) + "\n" for start in starts)
            bodies.flush()
            where = ["--port", self.port, "--path", "/v1/model/predict", "--bodies", bodies.name]
            command = [Path(__file__).with_name("load.py"), *where, "--connections", connections, "--seconds", seconds]
            before, logged = self._processor_seconds(), self._answers()
            client = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True)
            time.sleep(end_after or min(SETTLED, seconds / 2))
            settled = self._megabytes()
            if end_after is not None:
                self._process.send_signal(signal.SIGTERM)
            said, _ = client.communicate()
        found: dict[str, Any] = json.loads(said)
        found["client_processor_seconds"] = found.pop("processor_seconds")
        if end_after is not None:
            found["exit"] = self._process.wait(timeout=60)
            answered = self._answers()
            answered.subtract(logged)
            return {**found, "server_answers": {str(status): count for status, count in answered.items() if count}}
        found["server_processor_seconds"] = self._processor_seconds() - before
        return {**found, "megabytes": {"settled": settled, "end": self._megabytes()}}

    def _processor_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _megabytes(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="utf-8").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def _answers(self) -> Counter[int]:
        """Statuses of the requests that the server has logged."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return Counter(entry["status"] for entry in entries if entry["event"] == "request")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
