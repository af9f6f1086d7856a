"""A small Chinese data set of the project's own invention: CLUE's ten tasks and CLUENER in their formats, general text.

It makes the whole system run without a download. Each task asks for what its words alone do not show: who did
what, whether a statement follows from another, which of two facts a question means. The general text is made
of the same words and patterns, so that learning from it helps. Scores on it say that the system works, not
how well a model knows Chinese.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ernie_tiny.data import sample_words as words
from ernie_tiny.data.clue import CLUENER, SUBMITTED
from ernie_tiny.data.sample_entities import entity_files
from ernie_tiny.data.sample_tasks import abstract, app, dialogue, pronoun, scene, sights, task_files
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json

SEED = 0  # of every choice
# What sample.json holds; the version is raised whenever other files or bytes are written.
MARK = {"version": 2, "seed": SEED, "size": 1}
PARAGRAPHS = 6000
# Of train, of dev, of every other split: rows; passages for c3 and cmrc2018, lines for chid.
COUNTS = {
    "afqmc": (1200, 300, 100),
    "tnews": (1200, 300, 100),
    "iflytek": (1500, 300, 100),
    "cmnli": (1200, 300, 100),
    "ocnli": (1200, 300, 100),
    "cluewsc2020": (300, 100, 50),
    "csl": (1200, 300, 100),
    "cmrc2018": (100, 34, 20),
    "chid": (150, 50, 25),
    "c3": (266, 66, 34),
    "cluener": (900, 200, 100),
}


def write_sample(root: Path) -> None:
    """The files of all CLUE tasks and of CLUENER (`clue/`) and of general text (`corpus/general.txt`) below the root.

    About 13,000 examples and 6,000 paragraphs, of the same bytes on every machine. `sample.json`, completed last,
    says that the set is whole; where it stands with the same version, nothing is written.

    Args:
        root: The data root.
    Raises:
        InputError: Below the root lies data that this function did not write.
    """
    marker = root / "sample.json"
    if marker.is_file():
        if _content(marker) == MARK:
            return
    else:
        for folder in (root / "clue", root / "corpus"):
            if folder.exists():
                raise InputError(
                    f"{folder}: is not the sample's and would be overwritten. Give the sample a "
                    "data root of its own, or set data.sample to false to use what is there."
                )
    # Until the end the marker says that what lies beside it is the sample's, but not whole.
    _write(marker, "{}\n")
    for task, (train, dev, other) in COUNTS.items():
        counts = {split: {"train": train, "dev": dev}.get(split, other) for split in SUBMITTED[task].files}
        rng = random.Random(f"{SEED} {task}")  # of its own: a further task changes no other's files
        files = entity_files(counts, rng) if task == CLUENER.name else task_files(task, counts, rng)
        for file, text in files.items():
            _write(root / file, text)
    _write(root / "corpus" / "general.txt", _corpus(PARAGRAPHS, random.Random(f"{SEED} corpus")))
    _write(marker, to_json(MARK) + "\n")


def _content(marker: Path) -> Any:
    """What the marker says; a file of that name that something else wrote is an error."""
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not set(content) <= set(MARK):
        raise InputError(f"{marker}: was not written by the sample. Rename it, or use another data root.")
    return content


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def _corpus(paragraphs: int, rng: random.Random) -> str:
    """Documents of 3 to 8 paragraphs on one or two themes; a paragraph a line, blank lines between."""
    themes: tuple[Callable[[random.Random], str], ...] = (
        _events,
        _news,
        _service,
        _idioms,
        _reason,
        _talk,
        _apps,
        abstract,
        lambda rng: sights(rng)[0],
    )
    documents = []
    while paragraphs > 0:
        length = min(rng.randint(3, 8), paragraphs)
        chosen = rng.sample(themes, rng.randint(1, 2))
        documents.append("".join(rng.choice(chosen)(rng) + "\n" for _ in range(length)))
        paragraphs -= length
    return "\n".join(documents)


def _events(rng: random.Random) -> str:
    return (rng.choice(words.EVENTS) + rng.choice(words.REMARKS)).format(**scene(rng))


def _news(rng: random.Random) -> str:
    (_, topic), (_, other) = rng.sample(list(words.TOPICS.values()), 2)
    sentences = []
    for title in rng.sample(words.TITLES, 3):
        a, b = rng.sample(topic, 2)
        sentences.append(title.format(a=a, b=b, x=rng.choice(other), **scene(rng)))
    return "。".join(sentences) + "。"


def _apps(rng: random.Random) -> str:
    return app(rng) + app(rng)


def _service(rng: random.Random) -> str:
    asking, answer = rng.choice(words.INTENTS)
    product = rng.choice(words.PRODUCTS)
    first, second = (question.format(p=product) for question in rng.sample(asking, 2))
    return f"{first}？也有人问：{second}？客服回答：{answer}。"


def _idioms(rng: random.Random) -> str:
    idioms, *sentences = rng.choice(words.IDIOMS)
    first, second, third = rng.sample(idioms.split(), 3)
    sentence, other = rng.sample(sentences, 2)
    text = sentence.format(first, **scene(rng)) + other.format(second, **scene(rng))
    return f"{text}{first}和{third}意思相近。"


def _reason(rng: random.Random) -> str:
    text, _, meant = pronoun(rng)
    return f"{text}这里的他是{meant}。"


def _talk(rng: random.Random) -> str:
    lines, question = dialogue(rng)
    return f"{''.join(lines)}{question['question']}{question['answer']}。"
