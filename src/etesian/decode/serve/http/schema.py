"""Request bodies: the parameters of OpenAI's interface that are supported, and those that are accepted without effect."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Finite = Annotated[float, Field(allow_inf_nan=False)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
JsonObject = dict[str, Any]


class Body(BaseModel):
    """Unknown parameters are refused, so that none is ignored silently, unless they are null, which is the same as absent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_null(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class StreamOptions(Body):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class StreamObfuscation(Body):
    """Options of the stream of a response."""

    include_obfuscation: bool | None = None


class SamplingBody(Body):
    """Parameters that all kinds of requests share."""

    model: str | None = None
    stream: bool | None = False
    temperature: Annotated[Finite, Field(ge=0)] | None = None
    top_p: Annotated[Finite, Field(gt=0, le=1)] | None = None
    top_k: int | None = None
    min_p: Annotated[Finite, Field(ge=0, le=1)] | None = None
    seed: Seed | None = None
    speculate: bool = True
    include_origins: bool = False
    user: str | None = None
    metadata: JsonObject | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class GenerationBody(SamplingBody):
    """Parameters that chat and text completions share."""

    max_tokens: Annotated[int, Field(ge=0)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[Token] | None = None
    ignore_eos: bool | None = None
    presence_penalty: Finite | None = None
    frequency_penalty: Finite | None = None
    repetition_penalty: Annotated[Finite, Field(gt=0)] | None = None
    logit_bias: dict[str, Finite] | None = None
    stream_options: StreamOptions | None = None
    guided_grammar: str | None = None

    @model_validator(mode="after")
    def _check_stream_options(self) -> GenerationBody:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream=true")
        return self


class TextPart(Body):
    """A part of a message; only text is supported."""

    type: Literal["text", "input_text", "output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class FunctionCall(Body):
    """A call of a function in a message of the assistant."""

    name: str
    arguments: str


class ToolCall(Body):
    """A tool call in a message of the assistant."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall
    index: int | None = None


class Message(Body):
    """A message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None

    @property
    def text(self) -> str:
        """All text of the message."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    @model_validator(mode="after")
    def _check_content(self) -> Message:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("a message needs content; only the assistant's may have tool_calls instead")
        return self


class JsonSchemaFormat(Body):
    """A named JSON schema."""

    name: str = "output"
    description: str | None = None
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """Format of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema must be given with type 'json_schema', and only then")
        return self


class Function(Body):
    """A function that the model may call."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_parameters(self) -> Function:
        kind = (self.parameters or {}).get("type", "object")
        if kind != "object":
            raise ValueError(f"parameters must be a schema of the type 'object'; got {kind!r}")
        return self


class Tool(Body):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: Function


class FunctionName(Body):
    """The name of a function."""

    name: str


class NamedTool(Body):
    """The choice of one tool."""

    type: Literal["function"]
    function: FunctionName


class ChatBody(GenerationBody):
    """Body of ``/v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    modalities: list[Literal["text"]] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None

    @model_validator(mode="after")
    def _check_combinations(self) -> ChatBody:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs=true")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice needs tools")
        has_format = self.response_format is not None and self.response_format.type != "text"
        has_tools = bool(self.tools) and self.tool_choice != "none"
        if self.guided_grammar is not None and (has_format or has_tools):
            raise ValueError("guided_grammar cannot be combined with response_format or tools")
        return self


class CompletionBody(GenerationBody):
    """Body of ``/v1/completions``."""

    prompt: str | list[Token] | list[str] | list[list[Token]]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Literal[1] | None = None


class TextFormat(Body):
    """Format of the text of a response."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    json_schema: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_schema(self) -> TextFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("schema must be given with type 'json_schema', and only then")
        return self


class TextOptions(Body):
    """Options of the text of a response."""

    format: TextFormat | None = None
    verbosity: str | None = None


class InputItem(Body):
    """A message in the input of a response."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    id: str | None = None
    status: str | None = None


class ResponseBody(SamplingBody):
    """Body of ``/v1/responses``; text only, and nothing is stored."""

    input: str | list[InputItem]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=0)] | None = None
    text: TextOptions | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    include: Annotated[list[str], Field(max_length=0)] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    reasoning: JsonObject | None = None
    stream_options: StreamObfuscation | None = None


class TokenizeBody(Body):
    """Body of ``/tokenize``; the text may be called ``content`` or ``prompt``."""

    content: str | None = None
    prompt: str | None = None
    model: str | None = None

    @model_validator(mode="after")
    def _check_text(self) -> TokenizeBody:
        if (self.content is None) == (self.prompt is None):
            raise ValueError("give either content or prompt")
        return self


class DetokenizeBody(Body):
    """Body of ``/detokenize``."""

    tokens: list[Token]
    model: str | None = None
