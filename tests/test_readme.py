"""The README and the examples: every code block and every example runs, and what they promise is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import okx_ws
from okx_ws import OkxWebSocketManager
from okx_ws.endpoints import REGIONS
from okx_ws.events import EVENT_TYPES
from okx_ws.exchange import LocalExchange

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def test_the_first_two_blocks_are_the_two_commands():
    """One runs the main job, one passes the tests; each does all of its set-up."""
    (first, main_job), (second, tests) = BLOCKS[:2]
    assert (first, second) == ("bash", "bash")
    for command in (main_job, tests):
        assert command.count("\n") == 1 and "python3 -m venv" in command and "pip install" in command
    assert "--local" in main_job and "--seconds 5" in main_job and "pytest" in tests


@pytest.fixture
def local(monkeypatch):
    """`OkxWebSocketManager` as in the README, but on a local exchange, and ending by itself where a block loops."""
    with LocalExchange() as exchange:
        made = []

        class Local(OkxWebSocketManager):
            credentials = exchange.credentials

            def __init__(self, *args, **settings):
                super().__init__(*args, **{"urls": exchange.urls, **settings})
                made.append(self)

            def __iter__(self):
                for number, message in enumerate(super().__iter__()):
                    yield message
                    if number == 5:
                        return

        monkeypatch.setattr(okx_ws, "OkxWebSocketManager", Local)
        yield Local
        for ws in made:
            ws.close()


@pytest.mark.parametrize("code", [code for language, code in BLOCKS if language == "python"])
def test_every_python_block_runs(code, local):
    """As it stands; `ws` is an open manager where a block does not make one."""
    ws = local(**local.credentials)
    exec(compile(code, "README.md", "exec"), {"ws": ws, "OkxWebSocketManager": local, "okx_ws": okx_ws})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_runs_offline_and_ends(example):
    """Without keys, warnings are errors; at most 60 lines, with a main and a guard."""
    text = example.read_text()
    assert len(text.splitlines()) <= 60 and "def main()" in text and '__name__ == "__main__"' in text
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        timeout=40,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/nowhere"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "" and len(done.stdout.splitlines()) >= 5


def test_the_readme_knows_every_event_and_region():
    """Tables do not go stale."""
    for type in EVENT_TYPES:
        assert f"`{type}`" in README
    for region, (live, demo, _) in REGIONS.items():
        assert f'| `"{region}"` |' in README and live in README and demo in README


@pytest.mark.parametrize("word", ["60011", "60018", "60032", "4004", "50101", "8443", "`checksum` is 0", "unofficial"])
def test_the_readme_answers_what_people_search_for(word):
    """The questions of the field."""
    assert word in README


def test_links_inside_the_project_lead_somewhere():
    """CHANGELOG.md and the like."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
