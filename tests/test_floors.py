"""A file imports from floors below its own, and only few files import what belongs to one of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import codeft

PACKAGE = Path(codeft.__file__).parent

FLOORS = {
    "types": 0,
    "progress": 0,
    "hub": 0,
    "allocator": 0,
    "error_text": 0,
    "prefix_states": 1,
    "prefix_budget": 2,
    "syntax": 1,
    "metrics": 2,
    "losses": 2,
    "objectives": 2,
    "optimizers": 2,
    "models": 3,
    "tasks": 4,
    "data": 5,
    "module": 6,
    "methods": 7,
    "callbacks": 7,
    "analysis": 7,
}
TOP = 8
"""Of every other file: the verbs and what they share."""

NEVER = {  # file or folder: what it doesn't import
    "syntax": ("torch", "transformers", "pytorch_lightning"),
    "metrics": ("pytorch_lightning", "transformers"),
    "losses": ("pytorch_lightning", "transformers"),
    "objectives": ("torch", "pytorch_lightning", "transformers"),
    "tasks": ("codeft.models",),
    "data": ("codeft.models",),
    "module": ("codeft.methods",),
}
ONLY = {  # what is imported: by whom
    "tree_sitter": ("syntax/tree.py",),
    "hydra": (f"{TOP}",),
    "omegaconf": (f"{TOP}",),
}


def runtime_imports(path: Path) -> set[str]:
    """Return the modules that a file imports when it runs; not what it imports for type checkers alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names if node.module == "codeft")
        waiting.extend(ast.iter_child_nodes(node))
    return found


def floor_of(module: str) -> int:
    parts = module.split(".")
    return FLOORS.get(parts[1], TOP) if len(parts) > 1 else 0


FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_point_downwards(file):
    module = ".".join(("codeft", *file.with_suffix("").parts)).removesuffix(".__init__")
    own, folder = floor_of(module), file.parts[0] if len(file.parts) > 1 else None
    imported = runtime_imports(PACKAGE / file)
    for name in imported:
        if name.startswith("codeft."):
            same_folder = folder is not None and name.split(".")[1] == folder
            assert same_folder or floor_of(name) < own or own == TOP == floor_of(name), (
                f"{file} imports {name}"
            )
        for never in NEVER.get(file.parts[0].removesuffix(".py"), ()):
            assert not f"{name}.".startswith(f"{never}."), f"{file} imports {name}"
        for package, allowed in ONLY.items():
            if name == package or name.startswith((f"{package}.", f"{package}_")):
                assert str(own) in allowed or str(file) in allowed, f"{file} imports {name}"


@pytest.mark.parametrize("folder", ["tasks", "models", "methods"])
def test_concrete_files_do_not_import_each_other(folder):
    """Each of these files is one choice of a config group, and can be taken out alone."""
    configs = (PACKAGE.parents[1] / "conf").glob(f"{folder.removesuffix('s')}/*.yaml")
    texts = [path.read_text(encoding="utf-8") for path in configs]
    targets = set(re.findall(rf"_target_: codeft\.{folder}\.(\w+)\.", "\n".join(texts)))
    assert len(targets) > 1
    for path in (PACKAGE / folder / f"{name}.py" for name in targets):
        for name in runtime_imports(path):
            other = name.removeprefix(f"codeft.{folder}.").partition(".")[0]
            assert other not in targets - {path.stem}, f"{path} imports {name}"


def test_the_command_line_starts_without_torch():
    import subprocess
    import sys

    code = (
        "import sys, codeft.cli, codeft.train; print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "False"]
