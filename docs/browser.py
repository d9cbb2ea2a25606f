"""The results browser: one page made from the committed rows, `results.html` of the book.

A table of all runs to sort and filter, the learning curves of those that are shown, and every
figure of their studies. It needs no server and no network: the page opens from a folder, too."""
import html
import json
import shutil
from pathlib import Path

import itables
import numpy as np
import pandas as pd
import plotly
from itables.javascript import generate_init_offline_itables_html
from rate_nb.engine.provenance import numerics_of
from rate_nb.engine.recipes import Paths
from rate_nb.engine.results import cost_of
from rate_nb.engine.runs import load_rows
from rate_nb.engine.study import find_study, study_names
from rate_nb.engine.style import method_colours

UNTOLD = ("name", "model", "preset", "seed", "study", "milestones")  # of recipes
MOST = 40  # curves that are drawn at once
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Results of rate_nb</title>
<link rel="icon" href="_static/icon.svg">
<script src="_static/plotly.min.js"></script>
{scripts}
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1rem; }}
.scrolls {{ overflow-x: auto; }}
td.long {{ max-width: 16rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }}
tr.selected td.long {{ white-space: normal; }}
thead input {{ width: 100%; min-width: 3rem; box-sizing: border-box; }}
#figures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr));
  gap: 1rem; }}
#figures figure {{ margin: 0; }}
#figures img {{ width: 100%; }}
#curves {{ height: 450px; }}
a {{ color: #0058a3; }}
</style>
</head>
<body><main><article>
<h1>Results</h1>
<p><a href="index.html">The book</a> · {number} trained models, from the rows that are kept in
<code>results/</code>. Type above a column to filter by it, click its arrows to sort, click runs to
read them in full and to see their curves alone. A score is the mean of the study's headline number
over all tests of a run; <em>by test</em> has each of them.</p>
<div class="scrolls" tabindex="0">{table}</div>
<h2>Learning curves</h2>
<p id="told"></p>
<div id="curves"></div>
<h2>Figures</h2>
<div id="figures">{figures}</div>
</article></main>
<script>
const CURVES = {curves}
function shown(table) {{ // all runs that pass the filter, or those that were clicked
  const draw_chosen = () => draw((table.rows({{selected: true}}).count()
    ? table.rows({{selected: true}}) : table.rows({{search: 'applied'}})).data().toArray())
  if (!window.watched) table.on('select deselect', draw_chosen)
  window.watched = true
  draw_chosen()
}}
function draw(rows) {{ // as the table has them: what stands in each column
  const hashes = rows.map(row => row[row.length - 1])
  const lines = hashes.slice(0, {most}).filter(hash => hash in CURVES)
  document.getElementById('told').textContent =
    `Training loss of ${{lines.length}} of the ${{rows.length}} runs that are chosen.`
  Plotly.react('curves', lines.map(hash => ({{...CURVES[hash], mode: 'lines'}})),
    {{xaxis: {{title: {{text: 'iteration'}}}}, yaxis: {{title: {{text: 'loss'}}, type: 'log'}},
      margin: {{t: 10}}, hovermode: 'closest'}}, {{responsive: true}})
  const studies = new Set(rows.map(row => row[0]))
  document.querySelectorAll('#figures figure').forEach(
    figure => figure.hidden = !studies.has(figure.dataset.study))
}}
</script>
</body></html>
"""
ON_DRAW = "function () { shown(this.api()) }"  # when the table is sorted or filtered


def settings(rows: list[dict]) -> list[str]:
    "Of each row, what the rows of its method do not all share."
    fields = pd.json_normalize([row["recipe"] for row in rows])
    names = fields.name
    def say(value): return f"{value:g}" if isinstance(value, float) else json.dumps(value)
    fields = fields.drop(columns=[*UNTOLD, "training.seed"], errors="ignore").map(say)
    varied = {name: part.columns[part.nunique() > 1] for name, part in fields.groupby(names)}
    return [", ".join(f"{key.rpartition('.')[2]} {line[key]}" for key in varied[name]
                      if line[key] != "nan")
            for name, (_, line) in zip(names, fields.iterrows(), strict=True)]


def tests(row: dict, kind: str, column: str) -> dict[tuple, float]:
    "The headline score of each test of a row, by the options that set the test apart."
    asked = [(json.loads(key), answer) for key, answer in row["measurements"].items()]
    asked = [(options, np.mean(answer[column])) for (found, options), answer in asked
             if found == kind and column in answer]
    keys = {key for options, _ in asked for key in options
            if len({json.dumps(other.get(key)) for other, _ in asked}) > 1}
    return {tuple((key, options[key]) for key in sorted(keys) if key in options): score
            for options, score in asked}


def say_tests(scores: dict[tuple, float]) -> str:
    "The scores in words, each option named once; nothing where there is but one test."
    told, before = [], ()
    for options, score in scores.items():
        names = tuple(name for name, _ in options)
        values = ", ".join(str(value) for _, value in options)
        if names: told.append((f"by {', '.join(names)}: " if names != before else "")
                              + f"{values} → {score:.3g}")
        before = names
    return "; ".join(told)


def lines(study: str, preset: str, rows: list[dict]) -> list[dict]:
    "Of each row, what the table says."
    headline, told = find_study(study).headline, []
    for row, setting in zip(rows, settings(rows), strict=True):
        scores, cost = tests(row, *headline), cost_of(row)
        told.append({
            "study": study, "method": cost["name"], "setting": setting, "preset": preset,
            "seed": cost["seed"],
            "score": round(float(np.mean(list(scores.values()))), 3) if scores else None,
            "by test": say_tests(scores),
            "loss": round(cost["loss"], 4), "parameters": cost["parameters"],
            "minutes": round((cost["seconds"] + cost["testing"])/60, 2),
            "commit": row.get("commit"), "numerics": numerics_of(row), "row": row["hash"]})
    return told


def curve(row: dict) -> dict:
    "The training loss of a row, for Plotly."
    history = [entry for entry in row["training"]["history"] if "loss" in entry]
    recipe = row["recipe"]
    return {"x": [entry["iteration"] for entry in history],
            "y": [float(f"{entry['loss']:.4g}") for entry in history],
            "name": f"{recipe['study'] or recipe['task']} {recipe['name']} {recipe['seed']}",
            "line": {"color": method_colours([recipe["name"]])[recipe["name"]], "width": 1}}


def figures(results: Path, target: Path) -> str:
    "Every figure, copied beside the page."
    told = []
    for path in sorted(results.glob("*/figures/*.png")):
        study, place = path.parts[-3], path.relative_to(results.parent)
        (target/place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target/place)
        name = html.escape(f"{study}: {path.stem.replace('_', ' ')}")
        told.append(f'<figure data-study="{study}"><a href="{place}"><img src="{place}" '
                    f'alt="{name}" loading="lazy"></a><figcaption>{name}</figcaption></figure>')
    return "\n".join(told)


def write_browser(results: Path, target: Path) -> Path:
    "Writes results.html, its figures and its scripts below `target`, and returns its path."
    paths = Paths(results=results)
    rows = {(study, folder.name): load_rows(study, folder.name, paths)
            for study in study_names(elsewhere=True)
            for folder in sorted((results/study).glob("*/")) if [*folder.glob("*-s*-*.json")]}
    table = pd.DataFrame([line for (study, preset), stored in rows.items()
                          for line in lines(study, preset, stored)])
    shown = itables.to_html_datatable(
        table, connected=False, table_id="runs", showIndex=False, classes="display compact",
        maxBytes=0, select=True, lengthMenu=[10, 25, 100, 1000], order=[], column_filters="header",
        columnDefs=[{"className": "long", "targets": [table.columns.get_loc(name)
                                                      for name in ("setting", "by test")]}],
        drawCallback=itables.JavascriptFunction(ON_DRAW))
    curves = {row["hash"]: curve(row) for stored in rows.values() for row in stored}
    bundle = Path(itables.__file__).parent/"html"/"dt_bundle.js"
    page = PAGE.format(scripts=generate_init_offline_itables_html(bundle), number=len(table),
                       table=shown, figures=figures(results, target), most=MOST,
                       curves=json.dumps(curves).replace("</", "<\\/"))
    (target/"_static").mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(plotly.__file__).parent/"package_data"/"plotly.min.js", target/"_static")
    path = target/"results.html"
    path.write_text(page, encoding="utf-8")
    return path
