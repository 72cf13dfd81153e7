"""Install a trained pair in the package, with a record of its training: training.json and README.md.

    python benchmarks/bundled_models/export.py --data runs/bundled --target runs/target --draft runs/draft
        --judged runs/judged.json --machine "2 cores of an AMD EPYC" --out src/etesian/decode/bundled

The N-gram is written by `ngram.py`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
LARGEST_MIB = 25.0
PAGE = """\
# The bundled models

A target, a draft and an N-gram for first tries, the demo and the tests: they write text in the manner of Python, and nothing that
should be relied on. All were trained by `benchmarks/bundled_models/` (`corpus.py`, `tokens.py`, `train.py`, `loops.py`,
`ngram.py`, `judge.py`, `export.py`; each says in its first lines how it is run) on Python source that a development environment of
Etesian holds anyway. This page and `training.json` were written by `export.py` from the records of the runs.

| | target | draft |
| --- | ---: | ---: |
{rows}

{agreement}

The machine: {machine}. Minutes are minutes worked, beside other work on the same cores. {stages}{note}

## What it writes

Greedily, and at temperature 0.8, after the first two lines:

```python
{greedy}
```

```python
{sampled}
```

## Data

{megabytes:.0f} MB of source, {tokens:,} tokens of a byte-level BPE of {vocabulary:,} tokens learned from it. Left out: tests,
copies and near-copies of other files, tables, vendored and generated code, files beyond ASCII. Whole modules were held
out by a hash of their path ({held_out} files; named in `training.json`). Every license is permissive; matplotlib's and Python's
are the Python Software Foundation's or like it.

| package | version | license | files | MB |
| --- | --- | --- | ---: | ---: |
{packages}
"""


def read_log(run: Path) -> list[dict[str, Any]]:
    """Read the log of a run."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def account_of(runs: list[Path], judged: dict[str, Any]) -> dict[str, Any]:
    """Return the cost and quality of one model; each run continues the previous one."""
    ends = [read_log(run)[-1] for run in runs]
    layers = [json.loads((run / "model" / "config.json").read_text())["num_hidden_layers"] for run in runs]
    return {
        **judged,
        "steps": sum(end["step"] for end in ends),
        "tokens": sum(end["tokens"] for end in ends),
        "minutes": round(sum(end["seconds"] for end in ends) / 60, 1),
        "stages": [{"layers": depth, **end} for depth, end in zip(layers, ends, strict=True)],
    }


def page(account: dict[str, Any]) -> str:
    """Return README.md."""
    target, draft = account["target"], account["draft"]
    lines = [
        ("parameters", "parameters", "{:,}"),
        ("steps", "steps", "{:,}"),
        ("tokens seen", "tokens", "{:,}"),
        ("minutes of training", "minutes", "{:.0f}"),
        ("loss on held-out modules, nats a token", "held_out_loss", "{:.3f}"),
        ("greedy continuations that end in a loop", "loops_greedy", "{:.0%}"),
        ("continuations at temperature 0.8 that end in a loop", "loops_at_0.8", "{:.0%}"),
    ]
    packages = account["packages"]
    layers = [stage["layers"] for stage in target["stages"]]
    return PAGE.format(
        rows="\n".join(
            f"| {name} | {form.format(target[key])} | {form.format(draft[key])} |" for name, key, form in lines
        ),
        agreement=f"Loops: a text of 128 tokens after each of {account['prompts']} HumanEval prompts ends in a cycle of at most"
        f" 32 tokens, 48 tokens or longer. On the target's greedy texts the draft's first choice is the target's for"
        f" {account['agreement_greedy']:.0%} of the tokens.",
        machine=account["machine"],
        stages=f"The target had {layers[0]} layers at first; copies of each that wrote zeros made them {layers[-1]}."
        if layers[1:]
        else "",
        note=account["note"] and "\n\n" + account["note"],
        greedy=account["samples"][0].rstrip(),
        sampled=account["samples"][1].rstrip(),
        megabytes=sum(package["bytes"] for package in packages) / 1e6,
        tokens=account["corpus_tokens"],
        vocabulary=account["vocabulary_size"],
        held_out=len(account["held_out"]),
        packages="\n".join(
            f"| {p['name']} | {p['version']} | {p['license'][:60]} | {p['files']} | {p['bytes'] / 1e6:.2f} |"
            for p in packages
        ),
    )


def install(run: Path, folder: Path) -> None:
    """Copy only the files of the model."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (run / "model" / name).exists():
            shutil.copyfile(run / "model" / name, folder / name)


def main(
    data: Annotated[Path, typer.Option(help="folder with corpus.py's and tokens.py's output")],
    target: Annotated[list[Path], typer.Option(help="runs of the target in order; the model of the last one is used")],
    draft: Annotated[list[Path], typer.Option(help="runs of the draft model in order")],
    judged: Annotated[Path, typer.Option(help="judge.py's output")],
    machine: Annotated[str, typer.Option(help="description of the training machine")],
    out: Annotated[Path, typer.Option(help="folder to write to")],
    note: Annotated[str, typer.Option(help="additional note about these runs")] = "",
) -> None:
    """Write target/, draft/, training.json and README.md, and print the total size."""
    import numpy as np

    figures = json.loads(judged.read_text())
    for runs, name in ((target, "target"), (draft, "draft")):
        install(runs[-1], out / name)
        figures[name] = account_of(runs, figures[name])
    account = json.loads((data / "corpus.json").read_text()) | figures | {"machine": machine, "note": note}
    account["corpus_tokens"] = len(np.load(data / "training.npy", mmap_mode="r"))
    account["vocabulary_size"] = json.loads((out / "target" / "config.json").read_text())["vocab_size"]
    (out / "training.json").write_text(json.dumps(account, indent=1) + "\n")
    (out / "README.md").write_text(page(account))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20
    typer.echo(f"{size:.1f} MiB in {out}" + ("" if size <= LARGEST_MIB else f": more than {LARGEST_MIB} MiB"))


if __name__ == "__main__":
    typer.run(main)
