"""The installation of ernie_tiny. Every version pin of the project stands in this file and nowhere else."""

import re
from pathlib import Path

from setuptools import find_packages, setup


def version() -> str:
    """The version that ernie_tiny/__init__.py states, read without importing the package."""
    text = Path(__file__).with_name("ernie_tiny").joinpath("__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("ernie_tiny/__init__.py states no __version__")
    return found.group(1)


INSTALL = [
    "paddlenlp==3.0.0b4",
    "aistudio-sdk>=0.2.6,<0.3",  # paddlenlp imports aistudio_sdk.hub.download, which 0.3 removed
    "protobuf>=3.20.2,<7",  # visualdl 2.5.3 fails with protobuf 7
    "numpy==1.26.4",  # the newest that paddlenlp's metadata allows
    "pyarrow>=15,<26",  # 26 requires NumPy 2
    "datasets>=2.14,<4",  # paddlenlp imports it; 5 contradicts tokenizers 0.21, 4 needs pyarrow 21
    "huggingface_hub>=0.23,<1.0",  # tokenizers 0.21
    "tokenizers>=0.21,<0.22",
    "safetensors>=0.6",
    "scipy>=1.10",
    "filelock>=3.8",
    "packaging>=22.0",
    "matplotlib>=3.7,<4",
    "jinja2>=3.1,<4",
    "rich>=13.0,<16",
    "pydantic>=2.5,<3",
    "visualdl==2.5.3",
    "jieba==0.42.1",
    "pyyaml>=6.0",
    "tqdm>=4.64",
    "setuptools>=61,<81",  # jieba imports pkg_resources, which later releases warn about and then remove
]

# Further engines for an exported model; paddle2onnx comes with paddlenlp.
ONNX = ["onnxruntime>=1.17", "onnx>=1.16", "paddle2onnx>=2.0,<3"]
OPENVINO = ["openvino>=2024.0"]
# transformers 4.56 asks for tokenizers 0.22, paddlenlp for 0.21.
PYTORCH = ["torch>=2.1", "transformers>=4.50,<4.56"]
SERVE = ["fastapi>=0.100,<1", "starlette>=0.27,<2", "uvicorn>=0.23,<1", "h11>=0.14,<1", "prometheus-client>=0.17,<1"]
EXTRAS = {
    "serve": SERVE,
    "onnx": ONNX,
    "openvino": [*OPENVINO, *ONNX],  # it reads the ONNX file
    # To compare with PyTorch: its numbers in tests, its speed in benchmarks/speed/against_pytorch.
    "interop": PYTORCH,
    "bench": [*PYTORCH, "textbrewer==0.2.1.post1"],
    "cpu": ["paddlepaddle==3.3.1"],
    # PyPI ends at paddlepaddle-gpu 2.6.2: first install 3.3.1 for your CUDA from Paddle's own index, as
    # https://www.paddlepaddle.org.cn/install/quick tells.
    "gpu": ["paddlepaddle-gpu==3.3.1"],
    "test": [
        *ONNX,
        *OPENVINO,
        *SERVE,
        "httpx>=0.24",  # what FastAPI's test client needs
        "scikit-learn>=1.3",
        "pytest>=8.0",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.5",
        "seqeval>=1.2",
        "hypothesis>=6.100",
        "sentencepiece>=0.2",
        "ruff>=0.11",
        "mypy>=1.13",
        "types-PyYAML>=6.0",
        "wheel>=0.38",
    ],
}

setup(
    name="ernie-tiny",
    version=version(),
    description="Distil Chinese ERNIE 3.0 models into students ten times smaller",
    license="Apache-2.0",
    packages=find_packages(include=["ernie_tiny", "ernie_tiny.*"]),
    package_data={"ernie_tiny.report": ["templates/*", "published.csv"], "ernie_tiny.serving": ["page.html"]},
    entry_points={"console_scripts": ["ernie-tiny = ernie_tiny.cli.command:main"]},
    python_requires=">=3.9,<3.13",
    install_requires=INSTALL,
    extras_require=EXTRAS,
)
