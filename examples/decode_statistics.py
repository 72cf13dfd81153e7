"""Print the origin of each token, the number of passes and the timings, compared with plain decoding."""

from rich.console import Console

from etesian.decode import Decoder, FixedPolicy, Sampling

decoder = Decoder.load("smollm2")  # `etesian models pull smollm2` downloads it
decoder.policy = FixedPolicy(8, 8)  # draft in every pass; by default the decoder drafts only where that is faster
colors = dict(zip([*decoder.drafter.stages, "target"], ["green", "cyan", "magenta", "yellow"], strict=False))
sampling = Sampling(temperature=0.5, top_p=0.9, seed=1, logprobs=2)
prompt = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n\n\ndef multiply(a, b):\n"

fast = decoder.generate(prompt, sampling, max_tokens=60)
plain = decoder.generate(prompt, sampling, max_tokens=60, speculate=False)
assert fast.token_ids == plain.token_ids
assert fast.logprobs == plain.logprobs

console = Console(highlight=False)
for text, origin in zip(fast.texts, fast.origins, strict=True):
    console.print(text, style=colors[origin], end="", markup=False)
console.print()
for origin, color in colors.items():
    console.print(f"{origin} {fast.origins.count(origin)}", style=color, end="  ")

stats = fast.stats
print(f"\n\n{stats.passes} passes for {stats.tokens} tokens: {stats.mean_accepted_length:.2f} per pass")
for stage in stats.stages:
    print(f"{stage.name}: {stage.passes} passes, {stage.accepted} of {stage.proposed} accepted, {stage.seconds:.3f} s")
print(
    f"target {stats.target_seconds:.3f} s, verification {stats.verify_seconds:.3f} s, other {stats.other_seconds:.3f} s"
)
print(f"weight bytes read, relative to plain decoding: {stats.relative_weight_bytes:.2f}")
print(f"{stats.tokens_per_second:.0f} tokens/s, plain {plain.stats.tokens_per_second:.0f}")

most_likely = [decoder.tokenizer.decode([token]) for token, _ in fast.alternatives[0]]
print(f"first token {fast.texts[0]!r}, log probability {fast.logprobs[0]:.2f}; most likely tokens {most_likely}")
