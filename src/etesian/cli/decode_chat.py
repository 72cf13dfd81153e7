"""The command `etesian chat`: a conversation in the terminal, streamed, with history."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from etesian._shared.text import printable
from etesian.cli.console import note
from etesian.cli.decode import FOR_PROGRAMS, LOADING, MAX_TOKENS, write_to_the_end
from etesian.cli.decode_models import AUTO, ModelChoice
from etesian.cli.decode_output import PieceWriter, legend, prepare_output, statistics_table
from etesian.cli.decode_remote import RemoteDecoder
from etesian.cli.derive import options_from
from etesian.decode.checks import check_text
from etesian.decode.decoder import Decoder
from etesian.decode.generation import Generation
from etesian.decode.models.loading import LoadOptions
from etesian.decode.sampling import Sampling
from etesian.errors import InputError

HELP = """/help            show this help
/system [TEXT]   set or clear the system prompt, and start over
/clear           start over
/undo            forget the last question and its answer
/origins         turn coloring of tokens by origin on or off
/stats           show statistics of the last answer
/exit            end the session (or press Ctrl-D)
Ctrl-C           end the answer, not the session"""


@dataclass
class Conversation:
    """The messages of a session, in the form of transformers.

    Parameters
    ----------
    system : str or None
        System prompt, the first message.
    """

    system: str | None = None
    turns: list[dict[str, str]] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, str]]:
        """All messages, starting with the system prompt."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, *self.turns]

    def add(self, role: str, content: str) -> None:
        """Add a message."""
        self.turns.append({"role": role, "content": content})

    def drop_question(self) -> None:
        """Remove the last question if it has no answer."""
        if self.turns and self.turns[-1]["role"] == "user":
            self.turns.pop()

    def undo(self) -> None:
        """Remove the last question and its answer."""
        while self.turns and self.turns.pop()["role"] != "user":
            pass


@dataclass
class Session:
    """A chat session: reads lines, answers questions and carries out commands.

    Parameters
    ----------
    decoder : Decoder or RemoteDecoder
    sampling : Sampling
    max_tokens : int
        Maximum length of an answer.
    speculate : bool
    show_origins : bool
        If True, color tokens by the stage that proposed them.
    console : Console
        Console for all output except the answers.
    """

    decoder: Decoder | RemoteDecoder
    sampling: Sampling
    max_tokens: int
    speculate: bool
    show_origins: bool
    console: Console
    conversation: Conversation = field(default_factory=Conversation)
    last: Generation | None = None

    def run(self, read_line: Callable[[], str]) -> None:
        """Answer lines until the input ends or /exit."""
        while True:
            try:
                line = read_line().strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                self.console.print("\n/exit or Ctrl-D ends the session")
                continue
            if line == "/exit":
                return
            try:
                check_text("a line", line)
                if line.startswith("/"):
                    self.carry_out(line)
                elif line:
                    self.answer(line)
            except InputError as error:
                note(f"error: {error}")
            except KeyboardInterrupt:  # before the answer begins, or after it
                self.conversation.drop_question()
                self.console.print("\nended by Ctrl-C")

    def answer(self, question: str) -> None:
        """Stream the answer to a question; Ctrl-C ends the answer, which stays in the history."""
        self.conversation.add("user", question)
        stages = _stages(self.decoder) if self.speculate else ()
        writer = PieceWriter(stages if self.show_origins else None)
        try:
            stream = self.decoder.stream_chat(
                self.conversation.messages, self.sampling, max_tokens=self.max_tokens, speculate=self.speculate
            )
        except InputError as error:
            self.conversation.undo()
            note(f"error: {error}")
            return
        try:
            generation, is_interrupted = write_to_the_end(stream, writer, "")
        except InputError as error:  # of a server, in the middle of an answer
            self.conversation.undo()
            note(f"error: {error}")
            return
        stream.close()
        self.conversation.add("assistant", generation.text)
        self.last = generation
        if self.show_origins:
            self.console.print(legend(generation, stages), soft_wrap=True)
        if is_interrupted:
            self.console.print("answer ended by Ctrl-C")
        elif generation.finish_reason == "length":
            self.console.print(f"answer ended after {len(generation.token_ids)} tokens; see --max-tokens")

    def carry_out(self, line: str) -> None:
        """Carry out a command that starts with a slash."""
        name, _, argument = line.partition(" ")
        if name == "/help":
            self.console.print(HELP, markup=False)
        elif name == "/system":
            self.conversation = Conversation(argument.strip() or None)
            self.console.print("system prompt set" if argument.strip() else "system prompt cleared")
        elif name == "/clear":
            self.conversation = Conversation(self.conversation.system)
            self.console.print("conversation cleared")
        elif name == "/undo":
            self.conversation.undo()
            self.console.print(f"{len(self.conversation.turns)} messages left")
        elif name == "/origins":
            self.show_origins = not self.show_origins
            self.console.print(f"origins {'on' if self.show_origins else 'off'}")
        elif name == "/stats":
            self.console.print("no answer yet" if self.last is None else statistics_table(self.last.stats))
        else:
            self.console.print(f"unknown command {printable(name)}; /help lists all commands", markup=False)


@options_from(Sampling, leave_out=FOR_PROGRAMS, annotations={"stop": tuple[str, ...]})
@options_from(
    LoadOptions, leave_out=[name for name in inspect.signature(LoadOptions).parameters if name not in LOADING]
)
def chat(
    *,
    url: str | None = None,
    model: str = "smollm2",
    system: str | None = None,
    draft: str = AUTO,
    ngram: str = AUTO,
    stage: tuple[str, ...] = (),
    max_tokens: int = 4 * MAX_TOKENS,
    plain: bool = False,
    show_origins: bool = False,
    **options: Any,
) -> int:
    """Chat with an instruction-tuned model, with speculative decoding.

    Answers go to standard output, everything else to standard error. Each line of standard input is a message; /help lists the
    commands of a session. Ctrl-C ends the answer but not the session.

    Exit code: 2 for a mistake in the arguments or a model without a chat template.

    Parameters
    ----------
    url
        Address of a running `etesian serve`, such as http://127.0.0.1:8000, which replaces all options that load models. The
        environment variable ETESIAN_API_KEY holds the API key, if the server requires one.
    model
        Target model: "smollm2", a folder with safetensors, a GGUF file or the name of a model on the Hugging Face hub.
    system
        System prompt.
    draft
        Draft model, folder of a draft head, or "head" for the head that comes with Etesian; "auto" uses the one next to the target,
        or such a head where it is faster; "none" uses none.
    ngram
        N-gram file that drafts for the draft model; "auto" uses the one next to the target, "none" uses none.
    stage
        Drafter stage: an N-gram file, a model or "lookup". Repeat from the innermost stage on. Replaces --draft and --ngram.
    max_tokens
        Maximum number of tokens of an answer.
    plain
        Decode without speculation.
    show_origins
        Color each token by the drafter that proposed it.
    """
    prepare_output()
    _prepare_input()
    if system is not None:
        check_text("--system", system)
    console = Console(stderr=True, highlight=False)
    loading = LoadOptions(**{name: options.pop(name) for name in LOADING})
    sampling = Sampling(**options)
    decoder: Decoder | RemoteDecoder
    if url is not None:
        decoder = RemoteDecoder(url)
        model = decoder.name
    else:
        decoder = ModelChoice(model=model, draft=draft, ngram=ngram, stages=stage, options=loading).load(console)
        if decoder.chat_template is None:
            raise InputError(
                f"model {model!r} has no chat template; use `etesian generate`, or an instruction-tuned model"
            )
    session = Session(
        decoder, sampling, max_tokens, not plain, show_origins, console, conversation=Conversation(system)
    )
    if sys.stdin.isatty():
        note(f"chatting with {model}; /help lists commands, Ctrl-D ends the session")
    session.run(_read_line)
    return 0


def _prepare_input() -> None:
    """Read standard input as UTF-8, with a lone surrogate for each byte that is not valid, which `Session` reports."""
    if sys.stdin is None:
        raise InputError("standard input is closed; connect it to a terminal, a pipe or a file")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")


def _stages(decoder: Decoder | RemoteDecoder) -> tuple[str, ...]:
    if isinstance(decoder, RemoteDecoder):
        return decoder.stages
    return decoder.drafter.stages if decoder.drafter is not None else ()


def _read_line() -> str:
    if sys.stdin.isatty():
        import readline  # noqa: F401  (line editing and history)

        return input("> ")
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
