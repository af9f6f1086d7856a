"""Which teacher layer a student layer learns from."""

from __future__ import annotations

import pytest

from ernie_tiny.config.layer_map import layer_map
from ernie_tiny.errors import InputError


@pytest.mark.parametrize(
    ("spec", "student", "teacher", "expected"),
    [
        # TinyBERT counts from 1: g(m) = 3 m
        (("uniform",), 4, 12, [(0, 2), (1, 5), (2, 8), (3, 11)]),
        (("uniform",), 6, 12, [(0, 1), (1, 3), (2, 5), (3, 7), (4, 9), (5, 11)]),
        (("uniform",), 3, 12, [(0, 3), (1, 7), (2, 11)]),
        (("uniform",), 5, 12, [(0, 1), (1, 4), (2, 6), (3, 9), (4, 11)]),  # 2.4, 4.8, 7.2, 9.6, 12
        (("uniform",), 2, 3, [(0, 1), (1, 2)]),  # 1.5 is rounded up
        (("uniform",), 3, 3, [(0, 0), (1, 1), (2, 2)]),
        (("uniform",), 1, 12, [(0, 11)]),
        # PKD counts from 1: 2, 4, 6, 8, 10 for 6 layers
        (("skip",), 6, 12, [(0, 1), (1, 3), (2, 5), (3, 7), (4, 9)]),
        (("skip",), 3, 12, [(0, 3), (1, 7)]),
        (("skip",), 5, 12, [(0, 1), (1, 3), (2, 5), (3, 7)]),
        (("skip",), 2, 3, [(0, 0)]),
        (("last",), 4, 12, [(0, 8), (1, 9), (2, 10), (3, 11)]),
        (("last",), 2, 2, [(0, 0), (1, 1)]),
        (("top",), 4, 12, [(3, 11)]),
        (("top",), 12, 4, [(11, 3)]),
        (("0:2", "1:5"), 4, 12, [(0, 2), (1, 5)]),
        (("3:0",), 4, 12, [(3, 0)]),
        (["5:0", "5:1"], 6, 2, [(5, 0), (5, 1)]),
    ],
)
def test_layers_are_paired(spec, student, teacher, expected):
    assert layer_map(spec, student, teacher) == tuple(expected)


@pytest.mark.parametrize("student", range(1, 13))
@pytest.mark.parametrize("teacher", [12, 20, 24])
def test_uniform_ends_at_the_top_and_takes_no_layer_twice(student, teacher):
    pairs = layer_map(("uniform",), student, teacher)
    layers = [layer for _, layer in pairs]
    assert [layer for layer, _ in pairs] == list(range(student))
    assert layers == sorted(set(layers)) and layers[0] >= 0 and layers[-1] == teacher - 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ((), "layers is empty: name a strategy .uniform, skip, last, top. or pairs such as 0:2"),
        (("unifrom",), "layers = 'unifrom': Did you mean 'uniform'.*0:2"),
        (("",), "layers = '': Valid: uniform, skip, last, top"),
        (("uniform", "0:2"), "layers has 'uniform': in a list, each is a pair"),
        (("0:",), "layers has '0:'"),
        (("0:-1",), "layers has '0:-1'"),
        (("0:2:4",), "layers has '0:2:4'"),
        (("0:2", "4:5"), "layers has '4:5': the student has the layers 0 to 3"),
        (("0:12",), "layers has '0:12': the teacher has the layers 0 to 11"),
    ],
)
def test_what_is_no_layer_map_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        layer_map(spec, 4, 12)


@pytest.mark.parametrize("strategy", ["uniform", "skip", "last"])
def test_a_student_deeper_than_its_teacher_is_refused(strategy):
    with pytest.raises(InputError, match=f"'{strategy}': the student has 6 layers and the teacher only 4.*'top'"):
        layer_map((strategy,), 6, 4)


def test_skip_needs_a_layer_below_the_last():
    with pytest.raises(InputError, match="'skip' leaves out the last layer"):
        layer_map(("skip",), 1, 12)
