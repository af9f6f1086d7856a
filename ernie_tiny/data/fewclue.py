"""The three low-resource tasks of FewCLUE on which ERNIE 3.0 Tiny reports, as values.

Files lie below the data root as FewCLUE publishes them: `fewclue/<task>/<split>.json`. Of each task there are
five draws of train and dev, which are tasks here, bustm-0 to bustm-4, and their union, bustm. All six share the
public test set, which has labels, and the union of the dev draws, `dev_few_all`: a draw's own dev set has but 32 rows
of BUSTM and EPRSTMT.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from ernie_tiny.data.task import TaskSpec

CSLDCP_LABELS = (
    "中医学/中药学",
    "中国语言文学",
    "交通运输工程",
    "体育学",
    "作物学",
    "信息与通信工程",
    "光学工程",
    "公共卫生与预防医学",
    "公共管理",
    "兵器科学与技术",
    "军事学",
    "农业工程",
    "农业资源利用",
    "农林经济管理",
    "冶金工程",
    "力学",
    "动力工程及工程热物理",
    "化学/化学工程与技术",
    "历史学",
    "口腔医学",
    "哲学",
    "园艺学",
    "图书馆、情报与档案管理",
    "土木工程",
    "地球物理学",
    "地理学",
    "地质学/地质资源与地质工程",
    "基础医学/临床医学",
    "大气科学",
    "天文学",
    "工商管理",
    "应用经济学",
    "建筑学",
    "心理学",
    "控制科学与工程",
    "政治学",
    "教育学",
    "数学",
    "新闻传播学",
    "机械工程",
    "材料科学与工程",
    "林学/林业工程",
    "核科学与技术",
    "植物保护",
    "民族学",
    "水产",
    "水利工程",
    "法学",
    "测绘科学与技术",
    "海洋科学",
    "物理学",
    "环境科学与工程",
    "理论经济学",
    "生物学/生物科学与工程",
    "电子科学与技术",
    "电气工程",
    "畜牧学/兽医学",
    "石油与天然气工程",
    "矿业工程",
    "社会学",
    "纺织科学与工程",
    "航空宇航科学与技术",
    "船舶与海洋工程",
    "艺术学",
    "药学",
    "计算机科学与技术",
    "食品科学与工程",
)


BUSTM = TaskSpec(
    name="bustm",
    kind="pair",
    texts=("sentence1", "sentence2"),
    labels=("0", "1"),
    files={},
)

EPRSTMT = TaskSpec(
    name="eprstmt",
    kind="classification",
    texts=("sentence",),
    labels=("Negative", "Positive"),
    files={},
)

CSLDCP = TaskSpec(
    name="csldcp",
    kind="classification",
    texts=("content",),
    labels=CSLDCP_LABELS,
    max_length=256,
    files={},
)


def _drawn(task: TaskSpec, name: str, draw: str) -> TaskSpec:
    files = {"train": f"train_{draw}", "dev": f"dev_{draw}", "dev_few_all": "dev_few_all", "test_public": "test_public"}
    paths = {split: (f"fewclue/{task.name}/{file}.json",) for split, file in files.items()}
    return dataclasses.replace(task, name=name, files=paths)


FEWCLUE: Mapping[str, TaskSpec] = MappingProxyType(
    {
        name: _drawn(task, name, draw)
        for task in (BUSTM, EPRSTMT, CSLDCP)
        for name, draw in [(task.name, "few_all"), *((f"{task.name}-{number}", str(number)) for number in range(5))]
    }
)
