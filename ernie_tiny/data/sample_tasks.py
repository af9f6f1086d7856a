"""The ten tasks of the embedded sample data, from patterns and words to files in CLUE's formats."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ernie_tiny.data import sample_words as words
from ernie_tiny.data.clue import CLUE
from ernie_tiny.errors import InputError
from ernie_tiny.files import to_json

LABEL_NOISE = 0.03  # share of train rows whose label is drawn at random

Row = tuple[str, dict[str, Any]]  # label, fields
T = TypeVar("T")


def task_files(task: str, counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    """The text of every file of a task, by the file's path below the data root.

    Args:
        task: A task of CLUE.
        counts: For each of its splits the rows (flat tasks), passages (c3, cmrc2018) or lines (chid).
        rng: Of every choice.
    Raises:
        InputError: The patterns do not give so many different rows.
    """
    nested = {"c3": _c3, "cmrc2018": _cmrc2018, "chid": _chid}
    return nested[task](counts, rng) if task in nested else _flat(task, counts, rng)


def people(rng: random.Random, number: int) -> list[str]:
    """Names that share neither surname nor given name."""
    surnames, given = rng.sample(words.SURNAMES, number), rng.sample(words.GIVEN_NAMES, number)
    return [surname + name for surname, name in zip(surnames, given)]


def scene(rng: random.Random) -> dict[str, str]:
    """A word for every name that the patterns use; together one event: who did what, when and where."""
    kind = rng.choice(list(words.KINDS))
    measure, things = words.KINDS[kind]
    thing, other = rng.sample(things, 2)
    do, did, did_too, did_not, reverse = rng.choice(words.VERBS)
    who, friend = people(rng, 2)
    where, elsewhere = rng.sample(words.PLACES, 2)
    number = rng.randint(2, 9)
    return {
        "who": who,
        "friend": friend,
        "where": where,
        "elsewhere": elsewhere,
        "do": do,
        "did": did,
        "did_too": did_too,
        "did_not": did_not,
        "reverse": reverse,
        "kind": kind,
        "thing": thing,
        "other": other,
        "count": _count(number, measure),
        "fewer": _count(rng.randint(1, number - 1), measure),
        "more": _count(rng.randint(number + 1, 10), measure),
        "when": rng.choice(words.TIMES),
        "city": rng.choice(words.CITIES),
        "color": rng.choice(words.COLORS),
        "feeling": rng.choice(list(words.MOODS)),
        "machine": rng.choice(words.KINDS["电器"][1]),
    }


def _count(number: int, measure: str) -> str:
    return ("两" if number == 2 else words.NUMBERS[number]) + measure


def json_lines(records: Sequence[Any]) -> str:
    """The text of a file with a record a line."""
    return "".join(to_json(record) + "\n" for record in records)


# The flat tasks: a function gives one row.


def _flat(task: str, counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    texts = CLUE[task].texts
    rows = different(task, sum(counts.values()), lambda: _ROWS[task](rng), lambda row: [row[1][name] for name in texts])
    return {
        CLUE[task].files[split][0]: json_lines([_record(task, split, n, next(rows), rng) for n in range(count)])
        for split, count in counts.items()
    }


def different(task: str, wanted: int, draw: Callable[[], T], text_of: Callable[[T], object]) -> Iterator[T]:
    """So many rows as they are drawn, of which no text stands twice: dev and test hold nothing of train."""
    rows: dict[str, T] = {}
    for _ in range(20 * wanted):
        row = draw()
        rows.setdefault(repr(text_of(row)), row)
        if len(rows) == wanted:
            return iter(rows.values())
    raise InputError(f"The sample has fewer than {wanted} different rows of {task}.")


def _record(task: str, split: str, number: int, row: Row, rng: random.Random) -> dict[str, Any]:
    label, fields = row
    if split.startswith("test"):
        return {"id": number, **{name: fields[name] for name in fields if not name.startswith("label")}}
    if split == "train" and rng.random() < LABEL_NOISE:
        label = rng.choice(CLUE[task].labels)
    identity = {"id": number} if task in ("csl", "ocnli") else {}
    return {**identity, "label": label, **fields}


def _afqmc(rng: random.Random) -> Row:
    (intent, _), (other_intent, _) = rng.sample(words.INTENTS, 2)
    product, other_product = rng.sample(words.PRODUCTS, 2)
    first, second = rng.sample(intent, 2)
    # A near miss shares the product or the intent.
    cases = (("1", second, product), ("0", rng.choice(other_intent), product), ("0", second, other_product))
    label, second, second_product = rng.choices(cases, weights=(9, 6, 5))[0]
    return label, {
        "sentence1": rng.choice(words.POLITE) + first.format(p=product),
        "sentence2": rng.choice(words.POLITE) + second.format(p=second_product),
    }


def _tnews(rng: random.Random) -> Row:
    label, distractor = rng.sample(list(words.TOPICS), 2)
    description, topic = words.TOPICS[label]
    a, b = rng.sample(topic, 2)
    x = rng.choice(words.TOPICS[distractor][1])
    title = rng.choice(words.TITLES).format(a=a, b=b, x=x, **scene(rng))
    return label, {"label_desc": description, "sentence": title, "keywords": f"{a},{b}"}


def _iflytek(rng: random.Random) -> Row:
    label, distractor = rng.sample(range(len(words.APPS)), 2)
    a, b, c = rng.sample(words.APPS[label], 3)
    text = rng.choice(words.APP_TEXTS).format(
        name="".join(rng.choice(part) for part in words.APP_NAMES),
        extra=rng.choice(words.APP_EXTRAS),
        a=a,
        b=b,
        c=c,
        x=words.APPS[distractor][0],
    )
    return str(label), {"label_des": words.APPS[label][0], "sentence": text}


def _ocnli(rng: random.Random) -> Row:
    event = scene(rng)
    label = rng.choice(list(words.HYPOTHESES))
    return label, {
        "sentence1": rng.choice(words.EVENTS).format(**event),
        "sentence2": rng.choice(words.HYPOTHESES[label]).format(**event),
    }


def _cmnli(rng: random.Random) -> Row:
    """As _ocnli, with a second event in the premise that the hypothesis is not about."""
    label, pair = _ocnli(rng)
    premise = [pair["sentence1"], rng.choice(words.EVENTS).format(**scene(rng))]
    rng.shuffle(premise)
    return label, {**pair, "sentence1": "".join(premise)}


def pronoun(rng: random.Random) -> tuple[str, list[str], str]:
    """A sentence on two people that ends with 他 and a reason, their names, and the one that 他 means."""
    names = people(rng, 2)
    event, *reasons = rng.choice(words.PRONOUNS)
    meant = rng.randrange(2)
    text = f"{{when}}，{event}他{rng.choice(reasons[meant])}。"
    return text.format(a=names[0], b=names[1], **scene(rng)), names, names[meant]


def _cluewsc(rng: random.Random) -> Row:
    text, names, meant = pronoun(rng)
    name = rng.choice(names)
    spans = {"span1_text": name, "span1_index": text.index(name), "span2_text": "他", "span2_index": text.rindex("他")}
    return "true" if name == meant else "false", {"target": spans, "text": text}


def _csl(rng: random.Random) -> Row:
    terms = rng.sample(words.FIELDS[rng.choice(list(words.FIELDS))], 7)
    abstract = rng.choice(words.ABSTRACTS).format(**dict(zip("abcde", terms)), n=rng.randint(20, 200))
    label = rng.choice("01")
    # Keywords of the same field that the abstract does not name make the row false.
    false = 0 if label == "1" else rng.randint(1, 2)
    keywords = rng.sample(terms[:5], 4 - false) + terms[5 : 5 + false]
    rng.shuffle(keywords)
    return label, {"abst": abstract, "keyword": keywords}


_ROWS: Mapping[str, Callable[[random.Random], Row]] = {
    "afqmc": _afqmc,
    "tnews": _tnews,
    "iflytek": _iflytek,
    "cmnli": _cmnli,
    "ocnli": _ocnli,
    "cluewsc2020": _cluewsc,
    "csl": _csl,
}


def app(rng: random.Random) -> str:
    """The description of an app, as the task iflytek has it."""
    return str(_iflytek(rng)[1]["sentence"])


def abstract(rng: random.Random) -> str:
    """The abstract of a paper, as the task csl has it."""
    return str(_csl(rng)[1]["abst"])


# The nested tasks: a function gives all files of its task.


def _question(
    rng: random.Random,
    question: str,
    answer: str,
    near: Sequence[str],
    pool: Sequence[str],
) -> dict[str, Any]:
    """A question of c3 with four choices: the answer, what stands near it in the text, others of the pool."""
    others = [word for word in pool if word != answer and word not in near]
    choices = [answer, *near, *rng.sample(others, 3 - len(near))]
    rng.shuffle(choices)
    return {"question": question, "choice": choices, "answer": answer}


def dialogue(rng: random.Random) -> tuple[list[str], dict[str, Any]]:
    """Two lines and a question on them: a plan or a time that changed, a choice, a feeling, a place."""
    words_of = scene(rng)
    where, elsewhere, thing, other = (words_of[name] for name in ("where", "elsewhere", "thing", "other"))
    hours = [_count(number, "点") for number in range(1, 11)]
    early, late = rng.sample(hours, 2)
    feeling, place, obstacle = (rng.choice([*found]) for found in (words.MOODS, words.SCENES, words.OBSTACLES))
    first, second, question, answer, near, pool = rng.choice(
        (
            (
                "男：{when}你去哪儿了？",
                f"女：本来想去{where}，可是{obstacle}，后来去了{elsewhere}。",
                "女的后来去了哪儿？",
                elsewhere,
                [where],
                words.PLACES,
            ),
            (
                "女：你{when}去哪儿了？",
                f"男：我到了{where}，{obstacle}，只好去了{elsewhere}。",
                "男的先到了哪儿？",
                where,
                [elsewhere],
                words.PLACES,
            ),
            (
                f"男：你想买{thing}还是{other}？",
                f"女：{thing}太贵了，还是买{other}吧。",
                "女的最后要买什么？",
                other,
                [thing],
                words.KINDS[words_of["kind"]][1],
            ),
            (
                f"女：会议是{early}开始吗？",
                f"男：原来是{early}，现在改到{late}了。",
                "会议几点开始？",
                late,
                [early],
                hours,
            ),
            (
                "女：{friend}，你怎么了？",
                f"男：{rng.choice(words.MOODS[feeling])}。",
                "男的心情怎么样？",
                feeling,
                [],
                list(words.MOODS),
            ),
            (
                f"男：{rng.choice(words.SCENES[place])}？",
                "女：{friend}，请等一下，我马上就来。",
                "他们最可能在哪儿？",
                place,
                [],
                list(words.SCENES),
            ),
        )
    )
    return [line.format(**words_of) for line in (first, second)], _question(rng, question, answer, near, pool)


def _story(rng: random.Random) -> tuple[list[str], list[dict[str, Any]]]:
    """Three events, and two questions on one of them with choices from the others."""
    events = [{**scene(rng), "who": who} for who in people(rng, 3)]
    meant = rng.choice(events)
    things = [thing for _, kind in words.KINDS.values() for thing in kind]
    questions = []
    for question, name, pool in (
        ("{who}{do}的是什么？", "thing", things),
        ("{who}去了哪里？", "where", words.PLACES),
    ):
        near = sorted({event[name] for event in events} - {meant[name]})
        questions.append(_question(rng, question.format(**meant), meant[name], near, pool))
    return ["".join(rng.choice(words.EVENTS).format(**event) for event in events)], questions


def _c3(counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    files = {}
    for split, count in counts.items():
        stories = [_story(rng) for _ in range(count // 2)]
        dialogues = [dialogue(rng) for _ in range(count - len(stories))]
        talks = [(lines, [question]) for lines, question in dialogues]
        names = CLUE["c3"].files[split]
        if not split.startswith("test"):
            for name, part in zip(names, (stories, talks)):
                files[name] = to_json([[*passage, f"{n}-1"] for n, passage in enumerate(part)], indent=1)
            continue
        passages = stories + talks
        for number, question in enumerate(question for _, questions in passages for question in questions):
            del question["answer"]
            question["id"] = number
        files[names[0]] = to_json(passages, indent=1)
    return files


def sights(rng: random.Random) -> tuple[str, list[tuple[str, str, int]]]:
    """A paragraph on two places of interest, and (question, answer, start) for all that it tells of them."""
    context = ""
    told = []
    for name in rng.sample(words.SIGHT_NAMES, 2):
        sight = name + rng.choice(words.SIGHT_TYPES)
        for number, (statement, question, kind) in enumerate(rng.sample(words.SIGHTS, 4)):
            before, after = statement.format(sight="这里" if number else sight, value="|").split("|")
            value = _sight_value(rng, kind)
            told.append((question.format(sight=sight), value, len(context + before)))
            context += f"{before}{value}{after}。"
    return context, told


def _sight_value(rng: random.Random, kind: str) -> str:
    if kind == "person":
        return people(rng, 1)[0]
    if kind == "address":
        return f"{rng.choice(words.CITIES)}{rng.choice('东西南北')}郊"
    if kind == "treasure":
        return f"{rng.choice(words.COLORS)}的{rng.choice(words.KINDS['乐器'][1])}"
    if kind == "weekday":
        return f"星期{rng.choice('一二三四五六')}"
    ranges = {"year": (1901, 2020, "年"), "area": (101, 999, "平方米"), "visitors": (2, 300, "万人")}
    low, high, unit = ranges[kind]
    return f"{rng.randint(low, high)}{unit}"


def _cmrc2018(counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    files = {}
    for split, count in counts.items():
        data = []
        for number in range(count):
            name = f"{split.upper()}_{number}"
            context, told = sights(rng)
            questions = []
            for index, (question, answer, start) in enumerate(rng.sample(told, 3)):
                answers = [{"text": answer, "answer_start": start}] * (3 if split == "dev" else 1)
                if split == "test":
                    answers = [{"text": f"FAKE_ANSWER_{n}", "answer_start": -1} for n in (1, 2, 3)]
                questions.append({"question": question, "id": f"{name}_QUERY_{index}", "answers": answers})
            paragraph = {"id": name, "context": context, "qas": questions}
            data.append({"paragraphs": [paragraph], "id": name, "title": name})
        files[CLUE["cmrc2018"].files[split][0]] = to_json({"version": "v1.0", "data": data}, indent=1)
    return files


def _chid(counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    files = {}
    blanks = 0
    for split, count in counts.items():
        records, answers = [], {}
        for _ in range(count):
            # Ten idioms of ten meanings: one alone fits a blank.
            meanings = rng.sample(words.IDIOMS, 10)
            passages = []
            for index in rng.sample(range(10), rng.randint(1, 3)):
                tag = f"#idiom{blanks:06d}#"
                blanks += 1
                answers[tag] = index
                passages.append(rng.choice(meanings[index][1:]).format(tag, **scene(rng)))
            content = passages if rng.random() < 0.5 else ["".join(passages)]
            candidates = [rng.choice(idioms.split()) for idioms, *_ in meanings]
            records.append({"content": content, "candidates": candidates})
        passages_file, *answer_files = CLUE["chid"].files[split]
        files[passages_file] = json_lines(records)
        files.update({file: to_json(answers, indent=1) for file in answer_files})
    return files
