"""What cannot work is refused before anything is built: references, heads, layers, data, optimisation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ernie_tiny.config import RunConfig, load_config
from tests.config.conftest import refused

# A run with a stage of each kind; every test changes it by overrides.
CONFIG = """
name: toy
data: {corpora: {general: {files: [a.txt]}}}
models:
  teacher: {num_hidden_layers: 4, hidden_size: 32, num_attention_heads: 4}
  student: {num_hidden_layers: 2, hidden_size: 24, num_attention_heads: 2}
stages:
  - name: pretrain
    train: teacher
    data: {corpus: general}
    objective: {mlm: {}}
    optim: {max_steps: 3, batch_size: 4}
  - name: enhance
    train: teacher@pretrain
    data: {tasks: [afqmc, tnews]}
    objective: {hard: {}}
    optim: {max_steps: 3, max_tokens: 64}
  - name: distil
    train: student
    teacher: teacher@enhance
    data: {corpus: general}
    objective: {relation: {relation_heads: 8}}
    optim: {max_steps: 3, batch_size: 4}
  - name: finetune
    train: student@distil
    per_task: true
    data: {tasks: [afqmc, tnews]}
    objective: {hard: {}}
    optim: {epochs: 1, batch_size: 4}
"""


# A student that starts from the teacher's layers, narrowed; its heads are as wide as the teacher's at the most.
NARROWED = (
    "models.student.init_from=teacher@enhance", "models.student.init_narrowed=svd",
    "models.student.num_attention_heads=4",
)  # fmt: skip


def links(run: RunConfig) -> list[tuple[str, str, object]]:
    return [(stage.name, stage.train, stage.teacher) for stage in run.stages]


def test_the_config_that_the_tests_change_is_good(path):
    run = load_config(path)
    assert [stage.name for stage in run.stages] == ["pretrain", "enhance", "distil", "finetune"]
    assert run.stage("distil").objective.needs_teacher and not run.stage("enhance").objective.needs_teacher


# ---- skipped stages


def test_a_skipped_stage_links_the_next_to_what_it_started_from(path):
    run = load_config(path, ["stages.enhance.skip=true"])
    assert links(run) == [
        ("pretrain", "teacher", None),
        ("distil", "student", "teacher@pretrain"),
        ("finetune", "student@distil", None),
    ]


def test_two_skipped_stages_in_a_row_link_through_both(path):
    run = load_config(path, ["stages.pretrain.skip=true", "stages.enhance.skip=true"])
    assert links(run) == [("distil", "student", "teacher"), ("finetune", "student@distil", None)]


def test_the_first_and_the_student_stage_may_be_skipped(path):
    run = load_config(path, ["stages.pretrain.skip=true", "stages.distil.skip=true"])
    assert links(run) == [("enhance", "teacher", None), ("finetune", "student", None)]


def test_a_skipped_stage_is_not_checked(path):
    assert len(load_config(path, ["stages.distil.skip=true", "stages.distil.teacher=null"]).stages) == 3


def test_layers_that_a_skipped_stage_would_have_trained_are_those_it_started_from(path):
    start = [*NARROWED, "models.student.init_layers=[0, 2]"]
    run = load_config(path, [*start, "stages.enhance.skip=true", "stages.pretrain.skip=true"])
    assert run.models["student"].init_from == "teacher"


def test_results_of_a_skipped_stage_are_refused_with_the_way_out(path):
    message = refused(path, "stages.enhance.skip=true", "report.teacher=teacher@enhance")
    assert "report.teacher = 'teacher@enhance': that stage is skipped" in message and "null" in message


# ---- references


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("stages.enhance.train=teacher@enhance", "no stage before this one is named 'enhance'"),
        ("stages.enhance.train=teacher@finetune", "no stage before this one is named 'finetune'"),
        (
            "stages.finetune.train=student@enhance",
            "no stage before this one is named 'enhance' and trains 'student'",
        ),
        ("stages.distil.teacher=teacher@enhanced", "Did you mean 'enhance'?"),
        ("stages.distil.teacher=assistant", "there is no model 'assistant'"),
        ("report.student=student@finetuned", "Did you mean 'finetune'?"),
        ("report.teacher=teacher", "name the stage too"),
        ("export.model=student@distil", "trains no head on labels"),
        ("export.model=studnt@finetune", "Did you mean 'student'?"),
    ],
)
def test_a_reference_must_lead_somewhere(path, override, said):
    key, _, value = override.partition("=")
    message = refused(path, override)
    assert message.startswith(f"-o {override}: {key} = {value!r}") and said in message


def test_results_may_be_references_to_any_supervised_stage(path):
    results = [
        "report.teacher=teacher@enhance",
        "report.student=student@finetune",
        "export.model=student@finetune",
    ]
    assert load_config(path, results).report.teacher == "teacher@enhance"


def test_further_models_of_a_report_are_references_too(path):
    report = load_config(path, ["report.student=student@finetune", "report.others.as it was=teacher@enhance"]).report
    assert report.models == {"student": "student@finetune", "as it was": "teacher@enhance"}
    assert load_config(path, ["report.others.gone=null"]).report.models == {}
    message = refused(path, "report.others.plain=student@finetuned")
    assert "report.others.plain = 'student@finetuned'" in message and "Did you mean 'finetune'?" in message
    for title in ("teacher", "majority", "a/b", ""):
        assert "is no title" in refused(path, f"report.others={{'{title}': student@finetune}}")


def test_every_model_of_a_report_has_learned_its_tasks(path):
    message = refused(
        path, "report.student=student@finetune", "report.teacher=teacher@enhance", "stages.enhance.data.tasks=[afqmc]"
    )
    assert "report.tasks" in message and "which teacher@enhance has not learned" in message


def test_settings_of_a_task_are_checked_as_those_of_the_stage(path):
    key = "stages.finetune.task_settings.tnews"
    assert "warmup_ratio" in refused(path, "stages.finetune.per_task=true", f"{key}.warmup_ratio=1.5")
    stage = load_config(path, ["stages.finetune.per_task=true", f"{key}.warmup_ratio=0"]).stage("finetune")
    assert stage.of_task("tnews").optim.warmup_ratio == 0.0 != stage.of_task("ocnli").optim.warmup_ratio


@pytest.mark.parametrize("side", ["report", "export"])
def test_results_are_of_tasks_that_were_learned(path, side):
    reference = "report.student=student@finetune" if side == "report" else "export.model=student@finetune"
    load_config(path, [reference, f"{side}.tasks=[tnews]"])
    message = refused(path, reference, f"{side}.tasks=[tnewss]")
    assert f"{side}.tasks" in message and "'tnewss'" in message and "Did you mean 'tnews'?" in message


@pytest.mark.parametrize("name", ["a@b", "a/b", "a b", "a.b", "''"])
def test_a_stage_name_is_a_plain_word(path, name):
    message = refused(path, f"stages.finetune.name={name}")
    assert "may hold no" in message or "is no name for a folder" in message


def test_a_run_has_a_stage(path):
    assert "stages is empty" in refused(path, "stages=[]")


def test_init_from_leads_somewhere_and_names_its_layers(path):
    narrowed = "models.student.init_narrowed"
    assert load_config(path, [*NARROWED, "models.student.init_layers=[0, 2]"])
    assert "init_layers is missing" in refused(path, "models.student.init_from=teacher@enhance")
    assert "is for a model with init_from and init_layers" in refused(path, f"{narrowed}=svd")
    assert "Did you mean 'selection'?" in refused(path, f"{narrowed}=selektion")
    layers = "models.student.init_layers=[0]"
    assert "Did you mean 'teacher'?" in refused(path, "models.student.init_from=teachr", layers)
    assert "no stage before this one" in refused(path, "models.student.init_from=teacher@finetune", layers)


def test_init_from_is_checked_wherever_the_model_is_read(path):
    layers = ["models.teacher.init_layers=[0]", "models.student.init_layers=[0]"]
    message = refused(path, "models.teacher.init_from=nobody", "stages.distil.teacher=teacher", layers[0])
    assert "there is no model 'nobody'" in message
    circle = ["models.teacher.init_from=student", "models.student.init_from=teacher"]
    assert "circle: teacher -> student -> teacher" in refused(path, *circle, *layers)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("[0, 4]", "teacher has the layers 0 to 3"),
        ("[-1]", "at least 0"),
        ("[0, 1, 2]", "student has room for 2 layers"),
    ],
)
def test_init_layers_are_layers_of_the_source(path, layers, said):
    message = refused(path, *NARROWED, f"models.student.init_layers={layers}")
    assert "models.student.init_layers" in message and said in message


# ---- per task


def test_weights_of_a_task_are_read_per_task(path):
    stage = "{name: again, train: student@finetune, %s, objective: {hard: {}}, optim: {epochs: 1, batch_size: 4}}"

    def add(keys: str) -> Path:
        path.write_text(CONFIG + "  - " + stage % keys + "\n", encoding="utf-8")
        return path

    load_config(add("per_task: true, data: {tasks: [tnews]}"))
    assert "set per_task: true here too" in refused(add("data: {tasks: [tnews]}"))
    assert "was not trained on csl" in refused(add("per_task: true, data: {tasks: [tnews, csl]}"))


def test_a_stage_per_task_has_tasks(path):
    assert "data.tasks is empty" in refused(path, "stages.distil.per_task=true")


# ---- data and objective


@pytest.mark.parametrize(
    ("stage", "override", "key", "said"),
    [
        ("enhance", "data={tasks: [csl], corpus: general}", "data", "tasks and a corpus"),
        ("distil", "data.corpus=genral", "data.corpus", "Did you mean 'general'?"),
        (
            "enhance",
            "data.sampling.strategy=temprature",
            "data.sampling.strategy",
            "Did you mean 'temperature'?",
        ),
        ("enhance", "data.sampling.weights={tnew: 1}", "data.sampling.weights.tnew", "Did you mean 'tnews'?"),
        ("enhance", "objective={}", "objective", "is empty"),
        ("enhance", "objective.hard.weight=0", "objective.hard.weight", "must be above 0"),
        ("enhance", "objective.hard.weight=-1", "objective.hard.weight", "must be above 0"),
        ("enhance", "teacher=teacher@pretrain", "teacher", "no term of the objective uses a teacher"),
        ("pretrain", "objective={hard: {}}", "objective.hard", "needs labels"),
        ("enhance", "objective={mlm: {}}", "objective.mlm", "general text"),
        ("distil", "objective.mlm={}", "objective.mlm", "masks the input"),
        ("distil", "objective.relation.pairs=[]", "objective.relation.pairs", "is empty. Valid: qq, kk, vv"),
        ("distil", "objective.relation.relation_heads=0", "objective.relation.relation_heads", "above 0"),
        ("distil", "objective.relation.relation_heads=-4", "objective.relation.relation_heads", "above 0"),
        ("pretrain", "objective.mlm.probability=0", "objective.mlm.probability", "above 0"),
        ("enhance", "objective.hard.weight=.nan", "objective.hard.weight", "above 0"),
        ("enhance", "optim.learning_rate=.inf", "optim.learning_rate", "above 0"),
        ("enhance", "select.every=0", "select.every", "above 0"),
        ("enhance", "data.examples=-1", "data.examples", "above 0"),
        ("enhance", "data.max_length=0", "data.max_length", "above 0"),
        ("distil", "objective.relation.pairs=[qq, kv]", "objective.relation.pairs", "'kv'"),
    ],
)
def test_data_and_objective_fit(path, stage, override, key, said):
    message = refused(path, f"stages.{stage}.{override}")
    assert message.startswith(f"-o stages.{stage}.{override}: stages.{stage}.{key}") and said in message


def test_relation_heads_divide_both_widths(path):
    for heads in (1, 2, 4, 8):
        load_config(path, [f"stages.distil.objective.relation.relation_heads={heads}"])
    message = refused(path, "stages.distil.objective.relation.relation_heads=16")
    assert (
        "stages.distil.objective.relation.relation_heads = 16 does not divide the student's hidden_size 24" in message
    )
    assert message.endswith("Heads that divide 32 and 24: 1, 2, 4, 8.")
    assert "the teacher's hidden_size 32" in refused(path, "stages.distil.objective.relation.relation_heads=12")


def test_relation_heads_are_checked_against_published_shapes(path):
    nano = ["models.student={shape: nano}", "models.teacher={pretrained: ernie-3.0-base-zh}"]
    load_config(path, [*nano, "stages.distil.objective.relation.relation_heads=24"])
    message = refused(path, *nano, "stages.distil.objective.relation.relation_heads=64")
    assert "student's hidden_size 312" in message and "1, 2, 3, 4, 6, 8, 12, 24." in message


def test_a_teacher_of_unknown_shape_leaves_the_student_to_be_checked(path):
    unknown = "models.teacher={pretrained: someone/some-model}"
    load_config(path, [unknown])
    assert "Heads that divide 24: " in refused(path, unknown, "stages.distil.objective.relation.relation_heads=16")


@pytest.mark.parametrize(("side", "good", "bad"), [("teacher", [0, 3, -4], [4, -5]), ("student", [0, 1, -2], [2, -3])])
def test_a_layer_is_one_that_the_model_has(path, side, good, bad):
    key = f"stages.distil.objective.relation.{side}_layer"
    for layer in good:
        load_config(path, [f"{key}={layer}"])
    for layer in bad:
        message = refused(path, f"{key}={layer}")
        assert f"{key} = {layer}: the {side} has the layers 0 to" in message


def test_auxiliary_layers_count_as_the_students(path):
    key = "stages.distil.objective.relation.student_layer=2"
    assert "0 to 1" in refused(path, key)
    assert load_config(path, [key, "stages.distil.auxiliary_layers=1"])
    teacher = "stages.distil.objective.relation.teacher_layer=4"
    assert "0 to 3" in refused(path, teacher, "stages.distil.auxiliary_layers=1")


# ---- models


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("models.student.family=earnie", "Did you mean 'ernie'?"),
        ("models.student.pooling=meen", "Did you mean 'mean'?"),
        ("models.student={shape: nanno}", "Did you mean 'nano'?"),
        ("models.student={num_hidden_layers: 2, hidden_size: 8}", "needs num_attention_heads"),
        ("models.student={}", "needs num_hidden_layers"),
        ("models.student.num_attention_heads=0", "must be above 0"),
        ("models.student.hidden_size=-24", "must be above 0"),
        ("runtime.keep_checkpoints=0", "must be above 0"),
        ("runtime.precision=float8", "float8"),
        ("runtime.device=tpu", "valid are auto, cpu, gpu and gpu:<number>"),
    ],
)
def test_a_model_can_be_built(path, override, said):
    message = refused(path, override)
    assert message.startswith(f"-o {override}: ") and said in message


def test_the_shape_of_a_pretrained_folder_is_read(path, tmp_path):
    numbers = {"num_hidden_layers": 2, "hidden_size": 40, "num_attention_heads": 4, "intermediate_size": 80}
    numbers |= {"model_type": "ernie"}
    folder = tmp_path / "pretrained"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(numbers), encoding="utf-8")
    use = f"models.teacher={{pretrained: {folder}}}"
    load_config(path, [use])
    message = refused(path, use, "stages.distil.objective.relation.teacher_layer=3")
    assert "the teacher has the layers 0 to 1" in message
    for broken in ("{", "[]", "{}", '{"hidden_size": 40}'):
        (folder / "config.json").write_text(broken, encoding="utf-8")
        assert "models.teacher.pretrained" in refused(path, use)


def test_scales_in_int8_are_dynamic_or_static(path):
    assert load_config(path, ["export.int8=static"])
    assert "Did you mean 'static'?" in refused(path, "export.int8=statik")
