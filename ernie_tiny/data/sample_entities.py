"""Named entities of the embedded sample data: sentences, the types of their entities, and CLUENER's files of them.

What an entity is shows in its context: a title may be a book's, a movie's or a game's, and a city is an address unless
it is part of a longer name.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from string import Formatter
from typing import Any, Callable

from ernie_tiny.data import sample_words as words
from ernie_tiny.data.clue import CLUENER
from ernie_tiny.data.sample_tasks import different, json_lines, people, scene

# A field named as a type of CLUENER is an entity of it, any other one a word of an event.
SENTENCES = (
    "{when}，{name}在{address}{did}{count}{thing}。",
    "{name}离开{company}，去了{address}。",
    "{company}在{address}开了新的门店，{position}{name}到了现场。",
    "{position}{name}说，{book}是一本好小说。",
    "{name}花了十年写完{book}，书店里很快卖完了。",
    "{movie}的导演是{name}，票房很好。",
    "{when}，{name}和{name}一起去看电影{movie}。",
    "手游{game}更新了，{name}还在练习新的技能。",
    "{name}喜欢{game}，每天都要闯关。",
    "{book}被拍成了电影{movie}，{name}是演员。",
    "从小说{book}到手游{game}，玩家越来越多。",
    "{government}在{address}检查了{company}的{thing}。",
    "{when}，{government}的{position}{name}回答了问题。",
    "{organization}在{address}得了冠军，{position}{name}很高兴。",
    "{name}加入了{organization}，以前在{company}做{position}。",
    "{organization}和{organization}的比赛改到了{when}。",
    "{when}去{scene}的游客很多，{name}没有买到票。",
    "{scene}在{address}，{name}设计了它。",
    "{name}从{address}到{scene}，走了两个小时。",
    "{company}送给{scene}{count}{thing}。",
    "{government}说，{scene}和{company}都没有问题。",
    "{company}的{position}请{name}看了{movie}。",
    "{when}，超市里的{thing}卖完了，{other}还有{fewer}。",  # no entity
    "这本{color}的小说没有名字，导演和演员都不知道。",  # words that stand near entities, and none
)
POSITIONS = ("教练", "馆长", "老师", "医生", "司机", "总统", "设计师", "主播", "专家", "农民")
COMPANIES = ("银行", "保险", "汽车", "手机", "基金", "超市", "公司", "酒店")
ORGANIZATIONS = ("球队", "战队", "合作社", "联盟", "剧组", "合唱团")
OFFICES = ("财政局", "教育局", "交通局", "地质局", "外交部", "法院")
SCENES = (*words.SIGHT_TYPES, "景区", "古镇", "海岛")


def entity_files(counts: Mapping[str, int], rng: random.Random) -> dict[str, str]:
    """The text of every file of CLUENER, by the file's path below the data root; no sentence stands twice.

    Args:
        counts: For each split the sentences.
        rng: Of every choice.
    Raises:
        InputError: The patterns do not give so many different sentences.
    """
    rows = different(CLUENER.name, sum(counts.values()), lambda: _sentence(rng), lambda row: row["text"])
    return {
        CLUENER.files[split][0]: json_lines([_record(split, number, next(rows)) for number in range(count)])
        for split, count in counts.items()
    }


def _record(split: str, number: int, row: dict[str, Any]) -> dict[str, Any]:
    """As CLUENER has it: a test row has an id and no label."""
    return {"id": number, "text": row["text"]} if split == "test" else row


def _sentence(rng: random.Random) -> dict[str, Any]:
    """A sentence and its entities in CLUENER's form: {type: {words: [[first, last], ...]}}."""
    event = scene(rng)
    text = ""
    label: dict[str, dict[str, list[list[int]]]] = {}
    for before, field, _, _ in Formatter().parse(rng.choice(SENTENCES)):
        text += before
        if field is None:
            continue
        entity = _ENTITIES[field](rng) if field in _ENTITIES else event[field]
        if field in _ENTITIES:
            label.setdefault(field, {}).setdefault(entity, []).append([len(text), len(text + entity) - 1])
        text += entity
    return {"text": text, "label": label}


def _title(rng: random.Random) -> str:
    thing = rng.choice(rng.choice(list(words.KINDS.values()))[1])
    return f"《{rng.choice((*words.COLORS, *words.SIGHT_NAMES))}的{thing}》"


def _address(rng: random.Random) -> str:
    return rng.choice(words.CITIES) + rng.choice(("", f"{rng.choice('东西南北')}郊", f"{rng.choice('东西南北')}街"))


def _named(*kinds: str) -> Callable[[random.Random], str]:
    """Gives a name of a city or a sight, then one of these."""
    return lambda rng: rng.choice((*words.CITIES, *words.SIGHT_NAMES)) + rng.choice(kinds)


_ENTITIES: Mapping[str, Callable[[random.Random], str]] = {
    "address": _address,
    "book": _title,
    "company": _named(*COMPANIES),
    "game": _title,
    "government": lambda rng: rng.choice(words.CITIES) + rng.choice(OFFICES),
    "movie": _title,
    "name": lambda rng: people(rng, 1)[0],
    "organization": _named(*ORGANIZATIONS),
    "position": lambda rng: rng.choice(POSITIONS),
    "scene": _named(*SCENES),
}
