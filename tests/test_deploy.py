"""deploy/: what its files say holds for the server and the installation. No image is built here."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ernie_tiny.cli import serve
from tests.test_requirements import EXTRAS, ROOT

DEPLOY = ROOT / "deploy"


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its arguments, in order."""
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").splitlines()
    found = (line.partition(" ") for line in lines if not line.startswith("#"))
    return [(name, rest) for name, _, rest in found]


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    return found


def options(command: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.add_arguments(parser)
    return parser.parse_args(command)


def test_the_image_copies_what_is_there_and_installs_extras_that_are(instructions: list[tuple[str, str]]) -> None:
    copied = [source for name, rest in instructions if name == "COPY" for source in rest.split()[:-1]]
    assert copied and all((ROOT / source).exists() for source in copied)
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert {f"!{source}" for source in copied} <= set(kept)
    extras = next(rest.partition("=")[2] for name, rest in instructions if rest.startswith("EXTRAS="))
    assert set(extras.split(",")) <= set(EXTRAS) and "serve" in extras


def test_the_image_has_no_compiler_and_ends_as_another_user_than_root(instructions: list[tuple[str, str]]) -> None:
    packages = " ".join(rest for name, rest in instructions if name == "RUN")
    assert not re.search(r"\b(gcc|g\+\+|build-essential|clang|make)\b", packages)
    users = [rest for name, rest in instructions if name == "USER"]
    assert users and int(users[-1]) > 0 and f"useradd --create-home --uid {users[-1]} server" in packages


def test_images_have_versions(instructions: list[tuple[str, str]], services: dict[str, Any]) -> None:
    base = next(rest for name, rest in instructions if name == "FROM")
    python = next(rest.partition("=")[2] for name, rest in instructions if name == "ARG" and rest.startswith("PYTHON="))
    assert re.fullmatch(r"python:\$\{PYTHON\}-slim", base) and re.fullmatch(r"3\.\d+", python)
    images = [service["image"] for service in services.values() if "image" in service]
    assert images and all(re.search(r":v?\d+\.\d+", image) for image in images)


def test_port_and_paths_are_the_servers(instructions: list[tuple[str, str]], services: dict[str, Any]) -> None:
    by_name = dict(instructions)
    asked = options(services["server"]["command"])
    assert by_name["ENTRYPOINT"] == '["ernie-tiny", "serve"]'
    assert asked.host == "0.0.0.0" and f"127.0.0.1:{asked.port}:{asked.port}" in services["server"]["ports"]
    assert by_name["EXPOSE"] == str(options(["--models", "x"]).port) == str(asked.port)
    source = Path(ROOT / "ernie_tiny/serving/server.py").read_text("utf-8")
    assert f":{asked.port}/health'" in by_name["HEALTHCHECK"] and '"/health"' in source
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"][0]
    assert (
        scraped["static_configs"][0]["targets"] == [f"server:{asked.port}"] and f'"{scraped["metrics_path"]}"' in source
    )
    mounted = [volume.rsplit(":", 2)[1] for volume in services["server"]["volumes"]]
    assert asked.models == mounted


def test_the_server_can_write_at_home_where_all_else_is_read_only(services: dict[str, Any]) -> None:
    server = services["server"]
    assert server["read_only"] and server["tmpfs"] == ["/tmp"] == [server["environment"]["HOME"]]


def test_an_empty_token_asks_for_none(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from ernie_tiny.serving import server

    given: list[Any] = []
    assert services["server"]["environment"][serve.TOKEN] == "${ERNIE_TINY_TOKEN:-}"
    monkeypatch.setenv(serve.TOKEN, "")
    monkeypatch.setattr(server, "ServedModel", lambda *_: None)
    monkeypatch.setattr(server, "run_server", lambda *arguments: given.append(arguments[-1]))
    serve.main(options(services["server"]["command"]))
    assert given == [None]
