"""etesian generate and etesian ngram: what goes where, which exit code, and one clear line for every mistake."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Result, run_command
from tiny_bundle import byte_tokenizer

from etesian.cli.app import run
from etesian.cli.decode import FOR_PROGRAMS, MAX_TOKENS, generate
from etesian.cli.decode_output import COLORS, TARGET_COLOR, PieceWriter, color_of, legend
from etesian.decode import GREEDY, Decoder, FixedPolicy, Generation, Piece, Sampling
from etesian.decode.comparison import Comparison
from etesian.decode.drafters import NgramDrafter

ANSI = {"green": 32, "cyan": 36, "magenta": 35, "yellow": 33}
PROMPT = "the wind blows"
SAMPLING = [field.name for field in dataclasses.fields(Sampling) if field.name not in FOR_PROGRAMS]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> Path:
    """The current folder, which holds the models."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(bundle)
    return tmp_path


@pytest.fixture
def speculating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded decoders always speculate, although it is slower for models as small as these."""
    load = Decoder.load.__func__

    def load_with_fixed_policy(cls, *arguments, **options):
        decoder = load(cls, *arguments, **options)
        decoder.policy = FixedPolicy(8, 4)
        return decoder

    monkeypatch.setattr(Decoder, "load", classmethod(load_with_fixed_policy))


def etesian(*arguments: object, given: bytes | None = None, colors: bool = False) -> Result:
    environment = {"COLUMNS": "140"} | ({"FORCE_COLOR": "1"} if colors else {"NO_COLOR": "1"})
    return run_command(*arguments, env=environment, given=given)


def generated(*options: object, prompt: str = PROMPT, **more) -> Result:
    return etesian("generate", prompt, "--model", "models", "--max-tokens", 24, *options, **more)


def expected(sampling: Sampling = GREEDY, max_tokens: int = 24) -> Generation:
    return Decoder.load("models").generate(PROMPT, sampling, max_tokens=max_tokens, speculate=False)


def ended(text: str) -> str:
    """As the command writes it: a line that ends."""
    return text if text.endswith("\n") else f"{text}\n"


# Text.


def test_text_is_that_of_plain_decoding(speculating) -> None:
    result = generated()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == generated("--plain").stdout == ended(expected().text)
    assert set(json.loads(generated("--plain", "--json").stdout)["origins"]) == {"target"}


def test_options_reach_the_choice_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    stream = Decoder.stream

    def remember(self, prompt, sampling, **rest):
        asked.append(sampling)
        return stream(self, prompt, sampling, **rest)

    monkeypatch.setattr(Decoder, "stream", remember)
    sampling = Sampling(
        temperature=0.9,
        top_k=40,
        top_p=0.9,
        min_p=0.01,
        repetition_penalty=1.2,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        stop=("zz", "q"),
        ignore_eos=True,
        seed=7,
    )
    words = ["--ignore-eos"] + [
        word
        for name in SAMPLING
        if name != "ignore_eos"
        for value in ([getattr(sampling, name)] if name != "stop" else sampling.stop)
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    report = json.loads(generated("--json", *words).stdout)
    assert asked[-1] == sampling  # after those of loading
    assert report["token_ids"] == list(expected(sampling).token_ids)
    assert report["token_ids"] != list(expected().token_ids)


def test_defaults_are_those_of_the_library() -> None:
    parameters = inspect.signature(generate).parameters
    for name in SAMPLING:
        assert parameters[name].default == getattr(Sampling(), name)
    load = inspect.signature(Decoder.load).parameters
    assert all(parameters[name].default == load[name].default for name in ("draft", "ngram"))
    assert MAX_TOKENS == parameters["max_tokens"].default == 256


def test_prompt_comes_from_argument_file_or_standard_input(folder: Path) -> None:
    (folder / "prompt").write_text(PROMPT)
    rest = ("--model", "models", "--max-tokens", 24)
    from_file = etesian("generate", "--prompt-file", "prompt", *rest)
    from_input = etesian("generate", "-", *rest, given=PROMPT.encode())
    assert from_file.stdout == from_input.stdout == generated().stdout


def test_echo_writes_the_prompt_first() -> None:
    assert generated("--echo").stdout == PROMPT + generated().stdout


def test_stages_of_ones_own_write_the_same_text(speculating) -> None:
    etesian("ngram", "build", "-o", "a.npz", "--model", "models", "--tokens", 300)
    staged = json.loads(
        generated("--json", "--stage", "a.npz", "--stage", "models/draft", "--stage", "models/target").stdout
    )
    assert [stage["name"] for stage in staged["stats"]["stages"]] == ["ngram", "draft", "draft 2"]
    assert staged["token_ids"] == list(expected().token_ids)


# What is told beside the text.


def test_colors_are_those_of_the_stages_that_proposed_the_tokens(speculating) -> None:
    report = json.loads(generated("--json").stdout)
    assert set(report["origins"]) >= {"draft", "target"}
    result = generated("--show-origins", colors=True)
    assert re.sub(r"\x1b\[\d*m", "", result.stdout) == ended(report["text"])
    counts = {origin: report["origins"].count(origin) for origin in ("ngram", "lookup", "draft", "target")}
    assert "".join(f"■ {o} {n} ({n / 24:.0%})   " for o, n in counts.items()).strip() in uncolored(result.stderr)
    painted = re.findall(r"\x1b\[(\d+)m[^\x1b]+\x1b\[0m", result.stdout)
    shown = [origin for origin, text in zip(report["origins"], texts_of(report), strict=True) if text.strip("\n")]
    assert painted == [str(ANSI[color_of(origin, ["ngram", "lookup", "draft"])]) for origin in shown]


def texts_of(report: dict) -> list[str]:
    """The text of each token as it became certain."""
    pieces = list(Decoder.load("models").stream(PROMPT, max_tokens=24, speculate=False))
    assert [token for piece in pieces for token in piece.token_ids] == report["token_ids"]
    return [text for piece in pieces for text in piece.texts]


def uncolored(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_origins_without_a_terminal_are_counted_and_said_to_need_one(speculating) -> None:
    result = generated("--show-origins")
    assert result.stdout == generated().stdout
    assert "■ target" in result.stderr
    assert "FORCE_COLOR=1" in result.stderr


def test_statistics_are_a_table_of_the_stages(speculating) -> None:
    stats = json.loads(generated("--json").stdout)["stats"]
    told = generated("--stats").stderr
    assert "24 tokens in " in told  # how long depends on the load
    draft = next(stage for stage in stats["stages"] if stage["name"] == "draft")
    share = f"{draft['accepted'] / draft['proposed']:.0%}"
    row = next(line.replace("│", " ").split() for line in told.splitlines() if "│ draft" in line)
    assert row[2:5] == [str(draft["proposed"]), str(draft["accepted"]), share]
    assert f"prompt: {stats['prompt_tokens']} tokens" in told
    assert f"weights read: {stats['relative_weight_bytes']:.2f} times those of plain decoding" in told


def test_json_is_one_object_with_what_the_library_gives(speculating) -> None:
    report = json.loads(generated("--json", "--compare", "--show-origins", "--stats").stdout)
    plain = expected()
    assert report["text"] == plain.text
    assert report["finish_reason"] == plain.finish_reason == "length"
    assert len(report["origins"]) == len(report["token_ids"]) == report["stats"]["tokens"] == 24
    assert report["comparison"]["is_identical"] is True
    assert report["comparison"]["speedup"] == sorted(report["comparison"]["speedups"])[2]


def test_comparison_tells_the_speedup_and_that_the_text_is_identical(speculating) -> None:
    result = generated("--compare")
    assert result.exit_code == 0
    assert re.search(r"[\d.]+ times as fast as plain decoding \([\d.]+ to [\d.]+ in 5 rounds\)", result.stderr)
    assert result.stderr.endswith("; the text is identical\n")


def test_comparison_that_finds_another_text_says_so_and_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Decoder.generate

    def wrong(self, prompt, sampling, *, max_tokens, speculate=True):
        return right(self, prompt, sampling, max_tokens=max_tokens - speculate, speculate=speculate)

    monkeypatch.setattr(Decoder, "generate", wrong)
    result = generated("--compare")
    assert result.exit_code == 1
    assert result.stderr.endswith("; THE TEXTS DIFFER\n")


def test_speedups_are_ratios_of_rates_round_by_round() -> None:
    class Stats:
        def __init__(self, rate):
            self.tokens_per_second = rate

    class Output:
        token_ids, finish_reason = (1, 2), "length"

        def __init__(self, rate):
            self.stats = Stats(rate)

    found = Comparison([Output(10), Output(20), Output(10)], [Output(30), Output(30), Output(20)])
    assert found.speedups == [1.5, 2.0, 3.0]
    assert (found.as_dict()["speedup"], found.as_dict()["plain_tokens_per_second"]) == (2.0, 10)


# The terminal.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def piece(*texts: str, origins: tuple[str, ...] | None = None) -> Piece:
    return Piece(tuple(range(len(texts))), texts, origins or ("target",) * len(texts), None, None)


def test_signs_that_steer_a_terminal_are_shown_there_and_kept_elsewhere() -> None:
    for file, shown in ((Terminal(), "a\u241b[2J\tb\n"), (io.StringIO(), "a\x1b[2J\tb\n")):
        writer = PieceWriter(file=file)
        writer.write(piece("a\x1b[2J", "\tb\n"))
        writer.finish("a\x1b[2J\tb\n")
        assert file.getvalue() == shown


def test_what_was_not_written_before_an_interrupt_is_written_once() -> None:
    file = io.StringIO()
    writer = PieceWriter(file=file)
    writer.write(piece("one ", "two"))
    writer.finish("one two three")
    assert file.getvalue() == "one two three\n"


def test_ends_of_line_are_not_colored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    PieceWriter(["ngram", "draft"], file).write(piece("a\n", "b", "c\nd", origins=("ngram", "draft", "target")))
    assert file.getvalue() == "\x1b[32ma\x1b[0m\n\x1b[36mb\x1b[0m\x1b[33mc\x1b[0m\n\x1b[33md\x1b[0m"


def test_each_stage_has_its_color_and_the_target_another() -> None:
    stages = [f"draft {number}" for number in range(9)]
    colors = [color_of(stage, stages) for stage in stages]
    assert len(set(colors[: len(COLORS)])) == len(COLORS)
    assert color_of("target", stages) == TARGET_COLOR not in colors
    assert str(legend(piece("a", "b", origins=("x", "target")), ["x"])) == "■ x 1 (50%)   ■ target 1 (50%)"


def environment_with_fakes() -> dict[str, str]:
    folders = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}


ENDLESS = """
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
import sys
from decode_fakes import Letters
from etesian.cli.app import run
from etesian.decode import GREEDY, Decoder, TableModel

class Telling(Letters):
    calls = 0

    def decode(self, tokens):
        self.calls += 1
        if self.calls == 50:
            print("begun", file=sys.stderr, flush=True)
        return super().decode(tokens)

Decoder.load = classmethod(lambda cls, *_, **__: cls(TableModel(20), None, Telling()))
sys.exit(run(sys.argv[1:], handles_interrupts=True))
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_interrupted_output_is_whole_and_the_exit_code_130(form: str, tmp_path: Path) -> None:
    environment = environment_with_fakes()
    command = [sys.executable, "-c", ENDLESS, "generate", "abc", "--max-tokens", "10000000"]
    command += ["--json"] if form == "json" else []
    with (tmp_path / "output").open("w+") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == "begun\n"
            os.kill(process.pid, signal.SIGINT)
            errors = process.stderr.read()
        text = (tmp_path / "output").read_text()
    assert process.returncode == 130, errors
    count = int(re.fullmatch(r"stopped after (\d+) tokens\n", errors)[1])
    if form == "json":
        report = json.loads(text)
        assert (len(report["text"]), report["finish_reason"]) == (count, None)
    else:
        assert re.fullmatch(f"[a-t]{{{count}}}\n", text)


# Mistakes.


def write_files(folder: Path, bundle: Path) -> None:
    for name in ("empty", "weightless", "pickled", "stranger"):
        shutil.copytree(bundle / "target", folder / name)
    shutil.rmtree(folder / "empty")
    (folder / "empty").mkdir()
    (folder / "weightless" / "model.safetensors").unlink()
    (folder / "pickled" / "model.safetensors").rename(folder / "pickled" / "pytorch_model.bin")
    byte_tokenizer().save_pretrained(folder / "stranger")
    file = folder / "stranger" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(tokenizer))
    (folder / "latin").write_bytes("Köln".encode("latin-1"))
    (folder / "nothing").write_bytes(b"")
    (folder / "no.npz").write_bytes(b"no archive")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("generate", "the text to continue must be given as PROMPT or by --prompt-file; got neither"),
        ("generate a --prompt-file nothing", "--prompt-file; got both"),
        ("generate --prompt-file none", "none cannot be read: No such file or directory"),
        ("generate --prompt-file latin", "latin must be UTF-8 text; byte 2 is invalid"),
        ("generate --model models --prompt-file nothing", "prompt must hold at least one token"),
        ("generate t\udcff", "PROMPT must be UTF-8 text; character 2 is invalid"),
        ("generate a --stop \udcff", "stop must be UTF-8 text; character 1 is invalid"),
        ("chat --system \udcff", "--system must be UTF-8 text; character 1 is invalid"),
        ("ngram show models/ngram.npz --after \udcff", "--after must be UTF-8 text; character 1 is invalid"),
        (
            "generate a --model models --stage lookup --stage lookup",
            "different names; got lookup, lookup; use each stage once",
        ),
        ("generate a --model models --stage self --stage self", "inner stages, self; got 'self'; use the stage once"),
        ("generate a --temperature -1", "temperature must be 0 or above"),
        ("generate a --top-k 0", "top_k must be"),
        ("generate a --model models --max-tokens -1", "max_tokens must be"),
        ("generate a --plain --compare", "remove --plain"),
        ("generate a --draft none --stage lookup", "--stage replaces --draft and --ngram"),
        ("generate a --dtype int4", 'Invalid value "int4" for --dtype. Choose from: "auto", "bf16"'),
        ("generate a --model models --device tpux", "device must be 'auto', 'cpu', 'cuda'"),
        ("generate a --model ./none", "folder './none' does not exist"),
        ("generate a --model ./empty", "folder './empty' has no"),
        ("generate a --model ./weightless", "has no weights (*.safetensors)"),
        ("generate a --model ./pickled", "are pickled (pytorch_model.bin)"),
        ("generate a --model models --draft ./stranger", "the tokenizer of ./stranger differs from the target's in"),
        ("generate a --model models --ngram none.npz", "N-gram file 'none.npz' does not exist"),
        ("generate a --model models --ngram no.npz", "no.npz is not a usable N-gram table"),
        ("generate a --model models --max-tokens 0 --compare", "needs at least one output token"),
        ("ngram show none.npz", "none.npz cannot be read"),
        ("ngram show no.npz", "no.npz is not a usable N-gram table"),
        ("ngram build -o no/a.npz", "there is no folder no"),
        ("ngram build -o a.bin", "the name of an N-gram file must end in .npz"),
        ("ngram build -o a.npz --model models --tokens 0", "n_tokens and length must be at least 1"),
        ("ngram build -o a.npz --model models --seed -1", "seed must be a whole number, at least 0; got -1"),
        ("ngram build -o a.npz --model models --starts nothing", "nothing must hold beginnings of texts"),
        ("ngram build -o a.npz --model models --starts latin", "latin cannot be read: "),
    ],
)
def test_user_error_gives_one_line_and_exit_code_2(folder: Path, bundle: Path, arguments: str, complaint: str) -> None:
    write_files(folder, bundle)
    result = etesian(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "stream"),
    [
        ("generate -", "stdin"),
        ("chat --top-k 0", "stdin"),
        ("generate a --top-k 0", "stdout"),
        ("chat --top-k 0", "stdout"),
        ("serve --port 70000", "stdout"),
        ("draft train --target models -o out --minutes 0", "stdout"),
        ("ngram build -o a.bin", "stdout"),
        ("ngram show none.npz", "stdout"),
        ("models list", "stdout"),
        ("models pull nothing", "stdout"),
    ],
)
def test_closed_stream_is_the_first_error(arguments: str, stream: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert run(arguments.split()) == 2
    name = {"stdin": "standard input", "stdout": "standard output"}[stream]
    assert capsys.readouterr().err.startswith(f"error: {name} is closed; ")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_standard_output_lacks_are_replaced(encoding: str, monkeypatch) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    assert run(["generate", "\u98a8 wind", "--model", "models", "--echo", "--max-tokens", "24"]) == 0
    assert output.buffer.getvalue().startswith(b"? wind")


def test_prompt_that_is_too_long_is_told_with_both_lengths() -> None:
    result = etesian("generate", "a" * 300, "--model", "models")
    assert result.exit_code == 2
    assert (
        result.stderr
        == "error: prompt must be shorter than 256 tokens, the longest text that the model reads; got 300\n"
    )


def test_missing_libraries_are_named_with_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from etesian.cli import decode_models

    monkeypatch.setattr(decode_models, "find_spec", lambda name: None if name == "torch" else object())
    assert generated().stderr == "error: models need torch: pip install 'etesian[decode]'\n"


# N-grams.


def built(*options: object, output: str = "a.npz") -> Result:
    return etesian("ngram", "build", "-o", output, "--model", "models", "--tokens", 600, *options)


def test_same_seed_builds_the_same_bytes_and_another_seed_others(folder: Path) -> None:
    results = [built("--seed", seed, output=name) for name, seed in (("a.npz", 1), ("b.npz", 1), ("c.npz", 2))]
    assert [result.exit_code for result in results] == [0, 0, 0]
    a, b, c = (NgramDrafter.load(folder / f"{name}.npz").table for name in "abc")
    assert (a.tokens == b.tokens).all()
    assert (a.probabilities == b.probabilities).all()
    assert not np.array_equal(a.tokens, c.tokens)
    assert results[0].stderr == "wrote a.npz\n"


def test_folder_of_target_and_draft_means_its_draft(folder: Path) -> None:
    built(output="a.npz")
    for model, is_same in (("models/draft", True), ("models/target", False)):
        etesian("ngram", "build", "-o", "b.npz", "--model", model, "--tokens", 600)
        assert ((folder / "a.npz").read_bytes() == (folder / "b.npz").read_bytes()) is is_same


def test_show_tells_what_build_told() -> None:
    told = built("--temperature", 1.25).stdout
    assert etesian("ngram", "show", "a.npz").stdout == told
    table = NgramDrafter.load("a.npz").table
    assert told.startswith(
        f"{len(table.contexts):,} pairs of tokens and 300 single ones, {len(table.tokens):,} successors"
    )
    assert told.endswith("text sampled at a temperature of 1.25\n")
    found = json.loads(etesian("ngram", "show", "a.npz", "--json").stdout)
    assert (found["pairs"], found["bytes"]) == (len(table.contexts), Path("a.npz").stat().st_size)


def test_show_tells_what_the_table_expects_after_a_text() -> None:
    built("--tokens", 3000)
    found = json.loads(etesian("ngram", "show", "a.npz", "--after", "the", "--model", "models", "--json").stdout)
    h, e = byte_tokenizer().encode("he")
    tokens, probabilities = NgramDrafter.load("a.npz").table.successors(h, e)
    assert [each["token"] for each in found["expected"]] == tokens.tolist()
    assert [each["probability"] for each in found["expected"]] == probabilities.tolist()
    shown = etesian("ngram", "show", "a.npz", "--after", "the", "--model", "models").stdout.splitlines()[1:]
    assert [line.split()[0] for line in shown] == [f"{p:.1%}" for p in probabilities.tolist()]


def test_samples_begin_as_asked(folder: Path) -> None:
    (folder / "starts").write_text("xyz\n\nxyw\n")
    built("--starts", "starts", "--tokens", 5000)  # 16 texts of each beginning
    x, y, z, w = byte_tokenizer().encode("xyzw")
    tokens, _ = NgramDrafter.load("a.npz").table.successors(x, y)
    assert set(tokens.tolist()[:2]) == {z, w}


def test_interrupted_build_writes_nothing(folder: Path) -> None:
    watched = ENDLESS.replace(
        "sys.exit(run",
        """
class Watched(TableModel):
    def context(self):
        print("begun", file=sys.stderr, flush=True)
        return super().context()

Decoder.load = classmethod(lambda cls, *_, **__: cls(Watched(20), None, Telling(), end_tokens=[0]))
sys.exit(run""",
    )
    command = [
        sys.executable,
        "-c",
        watched,
        "ngram",
        "build",
        "-o",
        "a.npz",
        "--model",
        "models",
        "--tokens",
        "99999999",
    ]
    environment = environment_with_fakes()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "begun\n"
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert not [path.name for path in folder.iterdir() if "npz" in path.name]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from etesian.cli.app import run;"
        "codes = [run(a.split()) for a in ('--help', 'generate --help', 'ngram build --help')];"
        "print(codes, {'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] set()"
