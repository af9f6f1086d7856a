#!/usr/bin/env python3
"""What much text and a large teacher would cost on many devices, by arithmetic alone: at_scale.py [--devices 8 64] ...

It prints the tables of docs/distributed.md. FLOPs, parameters and bytes come of the shapes as the plan counts them (see
config/shapes.py); what a device and its network reach is assumed, and is an argument. Nothing is run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ernie_tiny.config.shapes import SHAPES, EncoderShape
from ernie_tiny.report.tables import Table
from ernie_tiny.training.flops import BACKWARD

BILLION = EncoderShape(26, 1728, 24, 6912)  # its 24 heads' relations fit nano's width too
LENGTH = 128
BYTES = 4  # of a float32
HOUR = 3600.0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=float, default=100e9, help="bytes of UTF-8")
    parser.add_argument("--bytes-a-token", type=float, default=3.02)
    parser.add_argument("--student", choices=SHAPES, default="nano")
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--inputs", type=int, nargs="+", default=[256, 2048], help="of 128 tokens, of a step, in all")
    parser.add_argument("--teacher-flops", type=float, default=100e12, help="a second, that a device reaches; assumed")
    parser.add_argument("--student-flops", type=float, default=30e12, help="a second, that a device reaches; assumed")
    parser.add_argument("--bandwidth", type=float, default=12.5e9, help="bytes a second out of a device; assumed")
    parser.add_argument("--tuning-tokens", type=float, default=1e9, help="on which the teacher is trained before")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    student, tokens = SHAPES[args.student], args.text / args.bytes_a_token
    teacher_flops, student_flops = BILLION.forward_flops(LENGTH), (1 + BACKWARD) * student.forward_flops(LENGTH)
    print(f"{BILLION.outline}: {BILLION.parameters / 1e9:.2f} G parameters, {teacher_flops / 1e9:.2f} GFLOPs a token")
    print(f"{student.outline}: {student.parameters / 1e6:.1f} M parameters, {student_flops / 1e6:.1f} MFLOPs a token")
    print(f"{tokens / 1e9:.1f} G tokens, {tokens * (teacher_flops + student_flops):.2g} FLOPs\n")
    print(distilling(args, tokens, teacher_flops / args.teacher_flops + student_flops / args.student_flops).markdown())
    print()
    print(training(args, BILLION).markdown())


def distilling(args: argparse.Namespace, tokens: float, seconds: float) -> Table:
    """Hours of one pass over the text, a live teacher on every device, by devices and inputs of a step.

    Args:
        seconds: Of a device, for a token.
    """
    rows = []
    for devices in args.devices:
        for inputs in args.inputs:
            compute = inputs * LENGTH / devices * seconds
            sent = ring(SHAPES[args.student].parameters, devices)
            wait = sent / args.bandwidth
            steps = tokens / (inputs * LENGTH)
            rows.append([
                f"{devices}", f"{inputs:,} x {LENGTH}", f"{steps:,.0f}", f"{1000 * compute:,.1f}", f"{sent / 1e6:,.0f}",
                f"{1000 * wait:,.1f}", f"{steps * compute / HOUR:,.1f}", f"{steps * (compute + wait) / HOUR:,.1f}",
            ])  # fmt: skip
    header = [
        "devices", "inputs a step", "steps", "arithmetic, ms a step", "all-reduce, MB a device", "all-reduce, ms",
        "hours, all of it hidden", "hours, none of it hidden",
    ]  # fmt: skip
    return Table(header, [rows])


def training(args: argparse.Namespace, shape: EncoderShape) -> Table:
    """Hours and memory of training a model itself, by devices: its state with and without the optimizer's cut."""
    flops, rows = (1 + BACKWARD) * shape.forward_flops(LENGTH), []
    largest = max(shape.vocab_size * shape.hidden_size, shape.hidden_size * shape.intermediate_size)
    for devices in args.devices:
        moments = 2 * BYTES * max(shape.parameters / devices, largest)
        rows.append([
            f"{devices}", f"{args.tuning_tokens * flops / args.teacher_flops / devices / HOUR:,.1f}",
            f"{4 * BYTES * shape.parameters / 1e9:.1f}", f"{(2 * BYTES * shape.parameters + moments) / 1e9:.1f}",
            f"{shape.num_hidden_layers * shape.kept_bytes(LENGTH) * LENGTH / 1e9:.2f}",
            f"{ring(shape.parameters, devices) / 1e9:.1f}",
        ])  # fmt: skip
    header = [
        "devices", f"hours a {args.tuning_tokens / 1e9:.0f} G tokens", "state, GB a device",
        "with sharding: optimizer", "kept for the backward pass, GB an input", "all-reduce, GB a step",
    ]  # fmt: skip
    return Table(header, [rows])


def ring(parameters: int, devices: int) -> float:
    """Bytes that each of the devices sends in a ring all-reduce of float32 gradients."""
    return BYTES * parameters * 2 * (devices - 1) / devices


if __name__ == "__main__":
    main()
