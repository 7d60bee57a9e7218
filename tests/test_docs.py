"""What README and docs/ name is there: modules, commands, flags, files and links."""

import importlib.util
import re
from pathlib import Path

import pytest

from pipelines import costs
from trainer.cli import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = ("wit_builder", "queries", "learning", "dedup", "trainer", "sample_world", "pipelines", "benchmarks", "tests", "docker")
ELSEWHERE = {  # flags of img2dataset, Beam, torchrun, pip, Prism and the services named
    "img2dataset": re.compile(r"^\| `--[^|]*\|", re.MULTILINE),
    "beam": re.compile(
        r"--(runner|environment_(type|config)|extra_package|job_endpoint|job_port|serve_http|s3_\w+|spark_\w+|flink_master|project|region|"
        r"temp_location|template_location|sdk_container_image|machine_type|max_num_workers|nproc-per-node)\b"
    ),
}


def page(path):
    text = path.read_text(encoding="utf-8")
    for pattern in ELSEWHERE.values():
        text = pattern.sub("", text)
    return text


def known_flags():
    """Every flag that some command's source defines."""
    sources = [file.read_text(encoding="utf-8") for folder in PACKAGES for file in (ROOT / folder).rglob("*.py")]
    found = {flag for source in sources for flag in re.findall(r"[\"'](--[a-z][a-z0-9-]*)[\"']", source)}
    settings = re.findall(r"^    (\w+): .* = _flag\(", (ROOT / "trainer/config.py").read_text(encoding="utf-8"), re.MULTILINE)
    assumptions = [assumption.name for assumption in costs.ASSUMPTIONS]
    return found | {"--" + name.replace("_", "-") for name in [*settings, *assumptions]}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_flags_commands_files_and_links_are_there(path):
    text = page(path)
    unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", text)) - known_flags()
    modules = {name for name in re.findall(r"python -m ([a-z_][\w.]*)", text) if name.split(".")[0] in PACKAGES} - {"pipelines.NAME"}
    unknown |= {name for name in modules if importlib.util.find_spec(name) is None}
    unknown |= set(re.findall(r"^ +trainer ([a-z-]+)", text, re.MULTILINE)) - set(COMMANDS)
    named = re.findall(rf"`((?:{'|'.join(PACKAGES)}|docs)/[\w./-]+)`|\b(docs/[\w-]+\.md)", text)
    unknown |= {name for pair in named for name in pair if name and not (ROOT / name).exists()}
    unknown |= {link for link in re.findall(r"\]\((?!http|#)([^)#]+)", text) if not (path.parent / link).exists()}
    assert not unknown


def test_readme_leads_to_every_page():
    links = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", PAGES[0].read_text(encoding="utf-8")))
    assert links == {f"docs/{path.name}" for path in PAGES[1:]}
