"""What `probe` writes and prints: numbers as JSON and CSV, a table, and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from codeft.plots import PUBLISHED, new_figure, save_figure, style
from codeft.run_folder import write_text
from codeft.summary import print_outputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, WEIGHTS = "probe", "probe_weights"
MIX = "mix"
_COLUMNS = ("probe", "model", "layer", "score", "valid", "epoch", "weight")
_SCORES = {
    "lexical": "accuracy of token types, %",
    "syntactic": "MRR of trees",
    "semantic": "MAP@R of problems",
    "structural": "accuracy of complexity, %",
}


def write_report(result: Mapping[str, Any], folder: Path) -> None:
    """Write a result's files into a folder, and print it.

    Args:
        result: What `probe.json` holds.
        folder: Where `probe.json`, `.csv`, `.png`, `.svg` and the picture of the layers' weights go.
    """
    write_text(folder / f"{NAME}.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / f"{NAME}.csv", _as_csv(result))
    _draw_scores(result, folder)
    _draw_weights(result, folder)
    console = Console()
    console.print(scores_table(result))
    print_outputs(console, folder)


def _as_csv(result: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(result))
    return text.getvalue()


def _rows(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row a probe, model and layer, with the layer's weight in the mix, and one for the mix."""
    for probe, described in result["probes"].items():
        for model, scores in described["models"].items():
            weights = scores["mix"]["weights"]
            shared = {"probe": probe, "model": model}
            for layer, weight in zip(scores["layers"], weights, strict=True):
                yield {**shared, **layer, "weight": weight}
            mix = {key: value for key, value in scores["mix"].items() if key != "weights"}
            yield {**shared, "layer": MIX, **mix}


def best_layer(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layer that is best on the validation rows, the lowest of equals.

    >>> best_layer({"layers": [{"layer": 0, "valid": 0.5, "score": 0.7}, {"layer": 1, "valid": 0.6}]})
    {'layer': 1, 'valid': 0.6}
    """
    return max(scores["layers"], key=lambda layer: layer["valid"])


def scores_table(result: Mapping[str, Any]) -> Table:
    """Return a table of each model's mix and best single layer, a column a probe."""
    probes = result["probes"]
    rows, left_out = result["rows"], result["rows"]["left_out"]
    caption = f"{rows['train']:,} texts to train, {rows['valid']:,} to choose, {rows['test']:,} to test"
    if left_out:
        caption += f"; {left_out:,} blank or repeated ones left out"
    table = Table(
        title="probes of frozen layers", title_justify="left", caption=caption, caption_justify="left"
    )
    table.add_column("model", overflow="fold")
    table.add_column("reads", no_wrap=True)
    for name in probes:
        table.add_column(f"{name}\n{_short_score(name)}", justify="right", no_wrap=True)
    for model in result["models"]:
        found = {name: described["models"][model["name"]] for name, described in probes.items()}
        mixes = (_shown(name, scores["mix"]["score"]) for name, scores in found.items())
        table.add_row(Text(model["name"]), "all layers", *mixes)
        best = {name: best_layer(scores) for name, scores in found.items()}
        cells = (f"{_shown(name, layer['score'])} ({layer['layer']})" for name, layer in best.items())
        table.add_row("", "best layer", *cells)
        table.add_section()
    baselines = (_shown(name, described["baseline"]) for name, described in probes.items())
    table.add_row("baseline", "no model", *baselines, style="dim")
    return table


def _short_score(probe: str) -> str:
    return _SCORES[probe].partition(" ")[0]


def _shown(probe: str, value: float) -> str:
    """Return a score with the digits that its field prints.

    >>> _shown("lexical", 90.123), _shown("semantic", 0.90123)
    ('90.12', '0.9012')
    """
    return f"{value:.{2 if _SCORES[probe].endswith('%') else 4}f}"


def _draw_scores(result: Mapping[str, Any], folder: Path) -> None:
    probes = result["probes"]
    figure, axes = _new_figure(len(probes))
    deepest = max(model["layers"] for model in result["models"])
    for each, (name, described) in zip(axes, probes.items(), strict=False):
        for number, (model, scores) in enumerate(described["models"].items()):
            look = style(number)
            layers = [layer["layer"] for layer in scores["layers"]]
            each.plot(layers, [layer["score"] for layer in scores["layers"]], label=model, **look)
            each.plot(
                [deepest + 0.5], [scores["mix"]["score"]], **{**look, "linestyle": "none"}, clip_on=False
            )
        each.axhline(described["baseline"], **{**PUBLISHED, "marker": None}, label="baseline, no model")
        each.axvline(deepest - 0.25, color="#cccccc", linewidth=0.8)
        each.set(xlabel="layer (0: embeddings)", ylabel=_SCORES[name], title=name)
        each.set_xticks([*range(deepest), deepest + 0.5], [*map(str, range(deepest)), MIX])
        each.tick_params(labelsize="small")
    _add_legend(figure, axes[0])
    save_figure(figure, folder, NAME)


def _new_figure(num_probes: int) -> tuple[Figure, list[Axes]]:
    columns = 2 if num_probes == len(_SCORES) else num_probes
    return new_figure(columns=columns, rows=-(-num_probes // columns))


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Put one legend for all axes beside them: lines and bars would run through it."""
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize="small",
    )


def _draw_weights(result: Mapping[str, Any], folder: Path) -> None:
    probes = result["probes"]
    figure, axes = _new_figure(len(probes))
    for each, (name, described) in zip(axes, probes.items(), strict=False):
        width = 0.8 / len(described["models"])
        for number, (model, scores) in enumerate(described["models"].items()):
            weights = scores["mix"]["weights"]
            shift = (number - (len(described["models"]) - 1) / 2) * width
            places = [layer + shift for layer in range(len(weights))]
            each.bar(places, weights, width=width, color=style(number)["color"], label=model)
        deepest = max(model["layers"] for model in result["models"])
        each.axhline(1 / deepest, **{**PUBLISHED, "marker": None}, label="all alike")
        each.set(xlabel="layer (0: embeddings)", ylabel="weight in the mix", title=name)
        each.set_xticks(range(deepest))
        each.tick_params(labelsize="small")
    _add_legend(figure, axes[0])
    save_figure(figure, folder, WEIGHTS)
