"""Report section of the decoding half of the demo: a table, and a text colored by the source of its tokens."""

from __future__ import annotations

from statistics import median

from etesian.bench.report import Section, Span
from etesian.bench.report.format import counted
from etesian.decode.statistics import TARGET
from etesian.demo.decoding import DecodingDemo, decoders_table, describe_setting

_COLORS = ("#2f9e5b", "#1f78c8", "#9b59c9")
_TARGET_COLOR = "#d9a400"


def decoding_section(found: DecodingDemo) -> Section:
    """Return the report section."""
    tokens = [
        Span(text, _color(found, origin), origin)
        for text, origin in zip(found.sample.texts, found.sample.origins, strict=True)
    ]
    return Section(
        "decoding",
        "Text by four decoders",
        decoders_table(found),
        note=_note(found),
        points=(_headline(found), _sources(found)),
        text=(Span(f"{found.request}\n\n", title="prompt"), *tokens),
    )


def _headline(found: DecodingDemo) -> str:
    if not found.is_identical:
        return "The texts differ: a decoder generated different tokens than plain decoding. This is a bug."
    speedups = " and ".join(
        f"{median(race.speedups('staged')):.2f} times as fast as plain decoding ({race.choosing})"
        for race in found.races
    )
    return f"All four decoders generated the same tokens; the staged decoder was {speedups}."


def _sources(found: DecodingDemo) -> str:
    counts = [
        f"{counted(found.sample.origins.count(origin), 'token')} from {origin}" for origin in (*found.stages, TARGET)
    ]
    return (
        f"In the text below, the color of a token is its source: {', '.join(counts)}. "
        f"{found.sample.stats.mean_accepted_length:.1f} tokens per pass of the target model; the token that the target itself "
        "adds in each pass counts as its own."
    )


def _note(found: DecodingDemo) -> str:
    return (
        "plain: one token per pass of the target model. chain: a draft model proposes a few tokens, which one pass of the "
        "target verifies. tree: it proposes a tree of alternatives. staged: lookup in the text so far drafts for the draft model. "
        f"{describe_setting(found)} Medians, and ranges over the runs, each relative to the plain run of its seed. Sampled: "
        "temperature 0.8, top-p 0.95. The bfloat16 weights have the values of the 4-bit ones, so a draft model that was quantized "
        "from a more precise original would agree with its target less often."
    )


def _color(found: DecodingDemo, origin: str) -> str:
    if origin not in found.stages:
        return _TARGET_COLOR
    return _COLORS[found.stages.index(origin) % len(_COLORS)]
