"""Every row of docs/errors.md has a test, and every test of an error has a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Rows whose tests stand where the code's own tests do.
ELSEWHERE: Mapping[str, str] = {
    "D59": "tests/runs/test_inputs.py::test_a_changed_file_is_refused_by_name",
    "C86": "tests/runs/test_search.py::test_threads_are_no_key_of_a_grid",
    "F32": "tests/serving/test_benchmark.py::test_inputs_longer_than_the_model_reads_are_refused",
    "F33": "tests/serving/test_benchmark.py::test_a_benchmark_of_nothing_that_runs_here_is_refused",
    "F27": "tests/engines/test_engines.py::test_a_form_that_the_folder_does_not_hold",
    "F28": "tests/engines/test_engines.py::test_a_form_that_the_folder_does_not_hold",
    "F29": "tests/engines/test_engines.py::test_an_engine_that_is_not_installed",
    "F30": "tests/engines/test_engines.py::test_a_damaged_file",
    "F31": "tests/engines/test_engines.py::test_bfloat16_cannot_be_compared_on_every_processor",
    "F35": "tests/engines/test_engines.py::test_an_engine_that_multiplies_nothing_in_int8_is_refused",
    "F36": "tests/serving/test_server.py::test_an_address_that_cannot_be_had_is_refused",
    "N5": "tests/engines/test_engines.py::test_the_accuracy_gate_refuses_a_bad_quantisation",
    "F23": "tests/models/test_huggingface_write.py::test_a_head_over_means_is_refused_with_the_two_ways_out",
    "F38": "tests/models/test_huggingface_write.py::test_heads_of_a_size_that_transformers_cannot_be_told_of",
    "F24": "tests/models/test_huggingface_write.py::test_what_no_class_of_transformers_computes_is_refused",
    "F25": "tests/models/test_huggingface_write.py::test_what_no_class_of_transformers_computes_is_refused",
    "F26": "tests/end_to_end/test_further_kind.py::test_an_exported_model_answers_as_the_trained_one",
    "C43": "tests/kinds/test_registry.py::test_a_package_that_cannot_be_imported_is_named",
    "D91": "tests/kinds/test_registry.py::test_what_is_no_kind_is_named",
    "C44": "tests/training/test_workspace.py::test_a_bilstm_is_not_trained_on_spans",
    "S18": "tests/training/test_teacher_engine.py::test_a_stage_begun_elsewhere_in_bfloat16_stops_with_the_way_out",
    "S19": "tests/training/test_teacher_engine.py::test_an_engine_of_other_weights_is_refused",
    "M40": "tests/end_to_end/test_pruned_width.py::test_a_model_without_answers_is_refused",
    "S17": "tests/distributed/test_processes.py::test_a_killed_process_ends_the_others",
    "F11": "tests/training/test_checkpoint.py::test_damaged_checkpoints_are_passed_over_and_named",
    "N6": "tests/distill/test_cache.py::test_what_float16_cannot_hold_is_refused",
    "N8": "tests/runs/test_cache_teacher.py::test_other_examples_than_a_shared_cache_holds_are_refused_before_training",
    "N9": "tests/runs/test_cache_teacher.py::test_other_text_than_a_shared_cache_holds_is_refused_before_training",
    "N7": "tests/training/test_stage.py::test_one_input_a_process_cannot_be_compared",
    "N3": "tests/serving/test_export.py::test_the_gate_refuses_an_export_of_other_weights",
}


def ids_in_tests() -> Iterator[str]:
    """The ids that stand as texts of their own in the tests of this folder."""
    for path in Path(__file__).parent.glob("test_*.py"):
        if path.name != Path(__file__).name:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z]\d+", str(node.value)):
                    yield str(node.value)


def test_rows_and_tests_are_the_same(rows: Mapping[str, str]) -> None:
    found = list(ids_in_tests())
    assert sorted(found) == sorted(set(found)), "an id stands in two tests"
    assert set(found) | set(ELSEWHERE) == set(rows)
    assert not set(found) & set(ELSEWHERE)


def test_the_rows_of_an_area_are_numbered_without_a_gap(rows: Mapping[str, str]) -> None:
    for area in {row[0] for row in rows}:
        numbers = [int(row[1:]) for row in rows if row[0] == area]
        assert numbers == list(range(1, len(numbers) + 1))


def test_tests_elsewhere_exist() -> None:
    for place in ELSEWHERE.values():
        path, _, name = place.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, place
