"""What is not there is told at once; no test asks the network."""

from __future__ import annotations

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("transformers")

from huggingface_hub import errors  # noqa: E402

from etesian.decode.models.loading import (  # noqa: E402
    LoadOptions,
    hub,
    load_tokenizer,
    load_transformers_model,
    transformers_loading,
)
from etesian.decode.models.loading.hub import resolve_model_source  # noqa: E402
from etesian.errors import InputError  # noqa: E402

LOADERS = [load_tokenizer, load_transformers_model]


@pytest.fixture
def asked(monkeypatch):
    """What the hub was asked, in order; it answers by raising `asked.answer`, or not at all."""

    class Questions(list):
        answer: BaseException | None = None
        is_cached = False

    questions = Questions()

    def model_info(self, name, *, revision, timeout):
        questions.append((name, revision))
        assert timeout <= 3
        if questions.answer is not None:
            raise questions.answer

    def transformers_is_not_asked(*arguments, **options):
        raise AssertionError("asked of transformers, which tries for half a minute")

    hub._is_on_hub.cache_clear()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *_, **__: "a file" if questions.is_cached else None
    )
    monkeypatch.setattr(transformers_loading, "_with_input_errors", transformers_is_not_asked)
    yield questions
    hub._is_on_hub.cache_clear()


def unmade(kind):
    return kind.__new__(kind)  # an answer of the hub's, without the response that it came with


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    "name", ["./no-such", "../no-such", "/no/such", "~/no-such", "some/where/else", "here/no-such"]
)
def test_what_looks_like_a_path_is_never_asked_of_the_hub(asked, load, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(InputError, match="does not exist"):
        load(name, LoadOptions(device="cpu"))
    assert asked == []


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (unmade(errors.RepositoryNotFoundError), "neither a folder nor an accessible model on the hub"),
        (unmade(errors.RevisionNotFoundError), "has no revision 'v7'"),
        (errors.HFValidationError("Repo id must use letters"), "nor a hub name: Repo id must use letters"),
        (OSError("no route\nto host"), r"the hub cannot be reached \(no route to host\)"),
    ],
)
def test_a_name_that_the_hub_does_not_know_is_told_after_one_question(asked, load, answer, message):
    asked.answer = answer
    with pytest.raises(InputError, match=message):
        load("nobody/gpt2-typo", LoadOptions(device="cpu", revision="v7"))
    assert asked == [("nobody/gpt2-typo", "v7")]


def test_a_model_on_the_hub_is_asked_for_once(asked):
    options = LoadOptions()
    assert resolve_model_source("gpt2", options) == resolve_model_source("gpt2", options) == options
    assert asked == [("gpt2", None)]


@pytest.mark.parametrize("is_offline", [False, True])
def test_without_an_answer_the_local_cache_is_enough(asked, is_offline, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", is_offline)
    asked.answer, asked.is_cached = TimeoutError(), True
    assert resolve_model_source("gpt2", LoadOptions(dtype="bf16")) == LoadOptions(dtype="bf16", local_files_only=True)
    assert len(asked) == (not is_offline)


def test_who_wants_to_stay_offline_asks_nobody(asked, monkeypatch):
    assert resolve_model_source("gpt2", LoadOptions(local_files_only=True)) == LoadOptions(local_files_only=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="offline mode is set"):
        resolve_model_source("gpt2", LoadOptions())
    assert asked == []


def test_a_folder_is_not_asked_for(asked, tmp_path):
    assert resolve_model_source(str(tmp_path), LoadOptions()) == LoadOptions()
    assert asked == []
