"""The corpus recipe's modules, which import each other by their bare names."""

import importlib
import sys
from pathlib import Path

import pytest

CORPUS = Path(__file__).parents[2] / "recipes" / "corpus"


@pytest.fixture(scope="module")
def corpus():
    """Return a function that imports a module of the recipe; all are forgotten afterwards."""
    names = {path.stem for path in CORPUS.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.path.insert(0, str(CORPUS))
    yield importlib.import_module
    sys.path.remove(str(CORPUS))
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(before)
