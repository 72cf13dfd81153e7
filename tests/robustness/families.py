"""Families of inputs: valid samples of every format that the package reads, and the functions that read them."""

from __future__ import annotations

import bz2
import gzip
import importlib
import json
import logging
import lzma
import os
import shutil
import sqlite3
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from forked import Sample
from scipy import sparse

from etesian.errors import InputError

TESTS = Path(__file__).parents[1]
FIXTURES = TESTS / "fixtures" / "0.1.0"
for _folder in ("", "bench", "bench/io", "decode/models", "decode/serve"):
    sys.path.insert(0, str(TESTS / _folder))


def _import(*names: str) -> None:
    """Import what the readers need before the processes fork."""
    for name in names:
        importlib.import_module(name)


def importers() -> Iterator[Sample]:
    """Yield a sample of each format of runs. An importer accounts for every file by a run or a reason."""
    from import_cases import SAMPLES

    from etesian.bench.io import read_csv, read_parquet, write_csv, write_jsonl, write_parquet

    for name, (write, read) in SAMPLES.items():
        yield Sample(name, write, partial(_accounted, read), (InputError,))
    yield Sample("jsonl", lambda root: write_jsonl(_runs(), root / "r.jsonl"), _read_jsonl, (InputError,))
    for name, write, read in (("csv of ours", write_csv, read_csv), ("parquet", write_parquet, read_parquet)):
        suffix = "csv" if "csv" in name else "parquet"
        yield Sample(name, partial(_write_runs, write, f"r.{suffix}"), partial(_accounted, read), (InputError,))


def _runs() -> list[Any]:
    from bench_fakes import make_run

    from etesian.bench import StoredRun

    return [StoredRun("demo", make_run(name, seed)) for name in ("a", "b") for seed in range(2)]


def _write_runs(write: Callable[..., object], name: str, root: Path) -> None:
    write(_runs(), root / name)


def _accounted(read: Callable[[Path], Any], root: Path) -> str | None:
    """Read a folder; each run must survive a store."""
    from etesian.bench import Run, StoredRun

    items = list(read(root))
    for item in items:
        if isinstance(item, StoredRun):
            text = json.dumps(item.run.as_dict(), allow_nan=False)
            Run.from_dict(json.loads(text))
            text.encode()
    return None if items else "dropped without a word"


def _read_jsonl(root: Path) -> None:
    from etesian.bench import read_jsonl

    read_jsonl(root / "r.jsonl")


def sparse_files() -> Iterator[Sample]:
    """Yield a sample of each format of sparse data, compressed or not."""
    _import("etesian.sparse.io")
    rng = np.random.default_rng(0)
    X = sparse.random_array((12, 7), density=0.3, rng=rng, format="csr")
    ratings = "user,item,rating\n" + "".join(f"u{k % 5},{k % 7},{1 + k % 4}.5\n" for k in range(20))
    rows = "".join(f"{k % 2} {1 + k % 3}:{k}.25 {5 + k % 4}:-1e-2\n" for k in range(15))
    texts = {
        "rows.svm": rows,
        "ratings.csv": ratings,
        "ratings.dat": "".join(f"{k % 5}::{k % 7}::{1 + k % 5}::97{k}\n" for k in range(20)),
        "quoted.csv": "user;item;rating\n" + '"a;b";"c";"4,5"\n"a";"d";"1"\n' * 4,
        "matrix.mtx": "%%MatrixMarket matrix coordinate real general\n% c\n4 5 3\n1 1 2.5\n2 5 -1\n4 2 7\n",
        "array.mtx": "%%MatrixMarket matrix array real general\n2 2\n1\n2\n3\n4\n",
        "pattern.mtx": "%%MatrixMarket matrix coordinate pattern symmetric\n3 3 2\n2 1\n3 3\n",
        "ring.graph": "4 4 001\n2 1 4 3\n1 1 3 2\n2 2 4 1\n3 1 1 3\n",
        "edges.txt": "# c\n" + "".join(f"{k} {k + 1} {k}.5\n" for k in range(12)),
        "words.txt": "the cat sat on the mat\na dog sat\n" * 4,
    }
    for name, text in texts.items():
        yield Sample(name, partial(_write_file, name, text.encode()), _read_sparse, (InputError,))
    for suffix, pack in {"gz": partial(gzip.compress, mtime=0), "bz2": bz2.compress, "xz": lzma.compress}.items():
        yield Sample(
            suffix, partial(_write_file, f"r.csv.{suffix}", pack(ratings.encode())), _read_sparse, (InputError,)
        )
    yield Sample("utf-16", partial(_write_file, "r.csv", ratings.encode("utf-16")), _read_sparse, (InputError,))
    yield Sample("zip", partial(_write_zip, ratings), _read_sparse, (InputError,))
    for kind in ("csr", "csc", "coo", "bsr", "dia"):
        yield Sample(f"{kind} npz", lambda root, kind=kind: sparse.save_npz(root / "a.npz", X.asformat(kind)), _read_sparse,
                     (InputError,))  # fmt: skip
    arrays = {"X": X.toarray(), "y": np.arange(12) % 2}
    yield Sample("npz of rows", lambda root: np.savez(root / "a.npz", **arrays), _read_sparse, (InputError,))
    triples = {"user": np.array(["a", "b"]), "item": np.array([1, 2]), "rating": np.array([1.0, 2.0])}
    yield Sample("npz of triples", lambda root: np.savez(root / "a.npz", **triples), _read_sparse, (InputError,))


def _write_file(name: str, content: bytes, root: Path) -> None:
    (root / name).write_bytes(content)


def _write_zip(text: str, root: Path) -> None:
    with zipfile.ZipFile(root / "r.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("r.csv", (2020, 1, 1, 0, 0, 0)), text)


def _read_sparse(root: Path) -> None:
    """Read by the detected format; then the graph of edges, and all sentences of a text."""
    from etesian.sparse.io import Sentences, Triples, graph_of, read_file

    contents = read_file(next(root.iterdir()))
    contents.notes()
    if isinstance(contents, Sentences):
        list(contents)
    if isinstance(contents, Triples) and contents.is_graph:
        graph_of(contents)


def models() -> Iterator[Sample]:
    """Yield a model file of each estimator; a model that loads must predict."""
    _import("etesian.sparse.io")
    for name in ("classifier", "regressor", "factors", "words"):
        copy = partial(_copy, FIXTURES / f"{name}.npz", "model.npz")
        yield Sample(name, copy, _read_model, (InputError,))


def _copy(source: Path, name: str, root: Path) -> None:
    shutil.copy(source, root / name)


def _read_model(root: Path) -> str | None:
    from etesian.sparse import MatrixFactorization, WordEmbedding
    from etesian.sparse.io import load_model

    model = load_model(root / "model.npz")
    if isinstance(model, MatrixFactorization):
        found = model.predict((model.user_ids_[:2], model.item_ids_[:2]))
        if len(model.user_ids_):
            model.recommend(model.user_ids_[0])
    elif isinstance(model, WordEmbedding):
        found = model.vector(model.words_[0]) if model.words_ else np.zeros(0)
    else:
        found = model.predict(sparse.csr_array((2, model.n_features_in_)))
    return None if isinstance(found, np.ndarray) else "the prediction is not an array"


def ngrams() -> Iterator[Sample]:
    """Yield an N-gram file; a table that loads must give successors."""
    _import("etesian.decode.drafters.ngram_table")
    yield Sample("ngram", partial(_copy, FIXTURES / "ngram.npz", "ngram.npz"), _read_ngram, (InputError,))


def _read_ngram(root: Path) -> None:
    from etesian.decode.drafters.ngram_table import NgramTable

    table = NgramTable.load(root / "ngram.npz")
    for first in (-1, 0, table.vocabulary_size - 1):
        table.successors(first, 0)


def stores() -> Iterator[Sample]:
    """Yield stores: a damaged record is named, and the others are returned."""
    _import("etesian.bench.store")
    yield Sample("sqlite", _write_store, _read_store, (InputError,))
    yield Sample("records", partial(_write_records, "records.jsonl"), _read_records, (InputError,))


def _write_store(root: Path) -> None:
    from etesian.bench import Store

    with Store(root / "s.db") as store:
        store.add_all(_runs())


def _read_store(root: Path) -> str | None:
    """A record is either returned or named."""
    from etesian.bench import Store

    named = _Counted()
    logging.getLogger("etesian").addHandler(named)
    try:
        with Store(root / "s.db", create=False) as store:
            returned = len(store.entries())
    finally:
        logging.getLogger("etesian").removeHandler(named)
    with sqlite3.connect(root / "s.db") as connection:
        try:
            (total,) = connection.execute("SELECT count(*) FROM etesian_runs").fetchone()
        except sqlite3.DatabaseError:
            return None
    return None if returned + named.count >= total else f"{total} records; {returned} returned and {named.count} named"


class _Counted(logging.Handler):
    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def _write_records(name: str, root: Path) -> None:
    records = [json.dumps(entry.run.as_dict()) for entry in _runs()]
    (root / name).write_text("\n".join(records) + "\n")


def _read_records(root: Path) -> str | None:
    """Put each line into a store as its record, as a program with access to the database could."""
    _write_store(root)
    lines = (root / "records.jsonl").read_bytes().split(b"\n")[:4]
    with sqlite3.connect(root / "s.db") as connection:
        for number, line in enumerate(lines, 1):
            connection.execute("UPDATE etesian_runs SET record = CAST(? AS TEXT) WHERE id = ?", (line, number))
    return _read_store(root)


def gguf_files() -> Iterator[Sample]:
    """Yield GGUF files of tiny models; one that loads must score a token."""
    from gguf_files import random_blocks, write_tiny_gguf
    from tiny_models import tiny_model

    shape = {"hidden_size": 32, "intermediate_size": 32, "vocab_size": 40, "num_hidden_layers": 1}

    def quantized(name: str, weight: np.ndarray) -> tuple[np.ndarray, str]:
        return random_blocks("Q8_0", *weight.shape, np.random.default_rng(0), spread=0.1), "Q8_0"

    for family in ("llama", "qwen2"):
        model = tiny_model(family, **shape)
        for kind, rounded in (("F32", None), ("Q8_0", quantized)):
            yield Sample(
                f"{family} {kind}",
                lambda root, model=model, rounded=rounded: write_tiny_gguf(root / "m.gguf", model, rounded=rounded),
                _read_gguf,
                (InputError,),
            )


def _read_gguf(root: Path) -> None:
    from etesian.decode.models.loading.gguf import load_gguf

    model, tokenizer = load_gguf(root / "m.gguf", n_threads=1)
    tokenizer.encode("a b")
    model.context().score(np.zeros(1, np.int64), np.full(1, -1))


def safetensors_folders() -> Iterator[Sample]:
    """Yield folders of a tiny model, whole and in shards; one that loads must score a token."""
    _import("etesian.decode.load", "transformers.models.llama.modeling_llama")
    yield Sample("whole", partial(write_model_folder, shards=1), _read_folder, (InputError,))
    yield Sample("shards", partial(write_model_folder, shards=2), _read_folder, (InputError,))


def write_model_folder(root: Path, *, shards: int) -> None:
    """Write a Llama of one layer over 40 words."""
    rng, n, width = np.random.default_rng(2), 40, 16
    sizes = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"}
    sizes |= {"mlp.gate_proj": (32, width), "mlp.up_proj": (32, width), "mlp.down_proj": (width, 32)}
    arrays = {"model.embed_tokens.weight": rng.normal(0, 0.1, (n, width)), "model.norm.weight": np.ones(width)}
    arrays |= {f"model.layers.0.{name}.weight": rng.normal(0, 0.1, size) for name, size in sizes.items()}
    arrays |= {f"model.layers.0.{name}_layernorm.weight": np.ones(width) for name in ("input", "post_attention")}
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": 32,
        "num_attention_heads": 1, "num_key_value_heads": 1, "num_hidden_layers": 1, "vocab_size": n,
        "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": True, "dtype": "float32",
    }  # fmt: skip
    words = {"[UNK]": 0, "[END]": 1, **{f"w{k}": k for k in range(2, n)}}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }  # fmt: skip
    (root / "config.json").write_text(json.dumps(config))
    (root / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": [1, 2]}))
    (root / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}
    (root / "tokenizer_config.json").write_text(json.dumps(settings))
    if shards == 1:
        (root / "model.safetensors").write_bytes(_safetensors(arrays))
        return
    names = sorted(arrays)
    places = {name: f"model-{k % shards + 1:05}-of-{shards:05}.safetensors" for k, name in enumerate(names)}
    for place in set(places.values()):
        (root / place).write_bytes(_safetensors({name: arrays[name] for name in names if places[name] == place}))
    (root / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def _safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, values in arrays.items():
        entries[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [at, at + 4 * values.size]}
        at += 4 * values.size
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + b"".join(each.astype("f4").tobytes() for each in arrays.values())


def _read_folder(root: Path) -> None:
    import torch

    from etesian.decode.load import _load_model

    torch.set_num_threads(1)  # threads do not survive a fork
    loaded = _load_model(root, None)
    loaded.tokenizer.encode("w3 w4")
    loaded.model.context().score(np.zeros(1, np.int64), np.full(1, -1))


def draft_heads() -> Iterator[Sample]:
    """Yield folders of draft heads, ours and EAGLE-3's; one that loads must score a token."""
    _import("etesian.decode.drafters.head.model", "safetensors.torch")
    for name in ("ours", "EAGLE-3"):
        yield Sample(name, partial(_write_head, name), _read_head, (InputError,))


def _write_head(name: str, root: Path) -> None:
    from etesian.decode.drafters.head.folder import write_head
    from etesian.decode.drafters.head.formats import _LAYER, _OTHERS
    from etesian.decode.drafters.head.weights import HeadConfig, HeadWeights, _shapes

    rng = np.random.default_rng(0)
    config = HeadConfig(
        width=32, n_heads=2, n_key_heads=1, head_width=16, inner_width=32, feature_width=16, vocabulary_size=20
    )
    shapes = {each: shape for each, shape in _shapes(config, 8).items() if each not in ("embedding", "feature_norm")}
    arrays = {each: rng.normal(0, 0.2, shape).astype(np.float32) for each, shape in shapes.items()}
    if name == "ours":
        write_head(root, HeadWeights(config=config, output_tokens=np.arange(0, 16, 2), **arrays))
        return
    theirs = {ours: f"midlayer.{each}.weight" for each, ours in _LAYER.items()}
    theirs |= {ours: f"{each}.weight" for each, ours in _OTHERS.items()}
    (root / "model.safetensors").write_bytes(
        _safetensors({theirs[name]: arrays[name] for name in theirs if name in arrays})
    )
    settings = {
        "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": 20,
        "draft_vocab_size": 8, "target_hidden_size": 16, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
        "rope_scaling": None, "eagle_config": {"eagle_aux_hidden_state_layer_ids": [1]},
    }  # fmt: skip
    (root / "config.json").write_text(json.dumps(settings))


def _read_head(root: Path) -> None:
    from etesian.decode.drafters.head.folder import read_head
    from etesian.decode.drafters.head.model import HeadModel

    weights = read_head(root)
    width = weights.config.width
    context = HeadModel(weights, lambda tokens: np.ones((len(tokens), width), np.float32)).context()
    context.extend([0, 1])
    context.score([1], [-1])


def requests() -> Iterator[Sample]:
    """Yield raw requests to the server of live reports, which answers each or closes the connection."""
    _import("etesian.bench.serve")
    head = "GET /content HTTP/1.1\r\nHost: localhost:8000\r\nIf-None-Match: x\r\n"
    for name, text in {
        "content": f"{head}\r\n",
        "page": "HEAD / HTTP/1.0\r\nHost: [::1]:80\r\nContent-Length: 5\r\n\r\nabcde",
        "two": f"{head}\r\n{head}Connection: close\r\n\r\n",
    }.items():
        yield Sample(name, partial(_write_file, "request", text.encode()), _send, (RefusedError,))


TURNS = [{"role": "user", "content": "a b c"}, {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}]
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": TURNS, "max_tokens": 4, "temperature": 0.5, "seed": 3, "stop": ["x"]},
    ),
    "stream": ("/v1/chat/completions", {"messages": TURNS[:1], "max_tokens": 4, "stream": True, "n": 2, "top_p": 0.9}),
    "completion": ("/v1/completions", {"model": "toy", "prompt": "a b", "max_tokens": 4, "logit_bias": {"3": -5}}),
    "response": ("/v1/responses", {"model": "toy", "input": "a b", "max_output_tokens": 4}),
    "tokenize": ("/tokenize", {"prompt": "a b c"}),
    "detokenize": ("/detokenize", {"tokens": [1, 2, 3]}),
}


def server_json() -> Iterator[Sample]:
    """Yield bodies of requests to `etesian serve`, which answers each without an error of its own."""
    _import("etesian.decode.serve.http", "starlette.testclient", "toy_decoder")
    for name, (path, body) in BODIES.items():
        content = json.dumps(body).encode()
        yield Sample(name, partial(_write_file, "body.json", content), partial(_post, path), (RefusedError,))


@cache
def _client(process: int) -> Any:
    """Make a server in this process, since its threads do not survive a fork."""
    from starlette.testclient import TestClient
    from toy_decoder import make_decoder

    from etesian.decode.serve import Engine, EngineOptions
    from etesian.decode.serve.http import ServerOptions, create_app

    options = ServerOptions(model_name="toy", max_tokens=16, time_limit=5)
    app = create_app(Engine(make_decoder(), EngineOptions()).start(), options)
    return TestClient(app, base_url="http://localhost", raise_server_exceptions=False)


def _post(path: str, root: Path) -> str | None:
    content = (root / "body.json").read_bytes()
    answer = _client(os.getpid()).post(path, content=content, headers={"Content-Type": "application/json"})
    if answer.status_code >= 500:
        return f"answered {answer.status_code}: {answer.text[:200]}"
    if answer.status_code >= 400:
        raise RefusedError(answer.text[:200])
    return None


class RefusedError(Exception):
    """The server answered with an error status, or closed the connection."""


def _send(root: Path) -> str | None:
    return send_request((root / "request").read_bytes())


def send_request(content: bytes) -> str | None:
    """Send bytes over a socket pair to a handler; it must not raise, and must answer with valid status lines."""
    import re
    import socket

    from etesian.bench.serve import _Handler

    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(content[:60_000])
        ours.shutdown(socket.SHUT_WR)
        _Handler(theirs, ("127.0.0.1", 1), _FakeServer())  # type: ignore[arg-type]
        theirs.close()
        answer = b""
        while block := ours.recv(1 << 16):
            answer += block
    is_valid = re.match(rb"HTTP/1\.[01] [2345]\d\d ", answer) or not answer.startswith(
        b"HTTP/"
    )  # version 0.9 has no status
    if not is_valid:
        return f"answered {answer[:80]!r}"
    return None if re.match(rb"HTTP/1\.[01] (200|304) ", answer) else _refuse(answer)


def _refuse(answer: bytes) -> None:
    raise RefusedError(answer[:80].decode(errors="replace") or "closed")


class _FakeServer:
    """A server whose report is fixed."""

    class report:  # noqa: N801
        @staticmethod
        def snapshot() -> Any:
            from etesian.bench.report.render_html import message_content
            from etesian.bench.serve import Snapshot

            return Snapshot("s", message_content("t", "m"))

    def is_own_name(self, host: str) -> bool:
        """As the real one answers."""
        from etesian.bench.serve import ReportServer

        self.known_names = {"localhost"}
        return ReportServer.is_own_name(self, host)  # type: ignore[arg-type]


FAMILIES: dict[str, Callable[[], Iterator[Sample]]] = {
    "importers": importers,
    "sparse files": sparse_files,
    "models": models,
    "N-gram files": ngrams,
    "GGUF files": gguf_files,
    "safetensors folders": safetensors_folders,
    "draft heads": draft_heads,
    "stores": stores,
    "requests": requests,
    "server JSON": server_json,
}
"""Every reader of the package, by family."""
