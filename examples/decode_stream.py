"""Stream text, several tokens at a time, and end it at a stop string or at any time."""

import sys

from etesian.decode import Decoder, FixedPolicy, Sampling

decoder = Decoder.load("bundled")
decoder.policy = FixedPolicy(
    16, 8
)  # always draft; by default the decoder drafts only where it is faster, which is rare for small models
prompt = "def area_of_circle(radius):\n    "

# each piece holds all tokens that one pass of the target decided
sampling = Sampling(temperature=0.6, top_p=0.95, seed=3, stop=["\n\n"])
stream = decoder.stream(prompt, sampling, max_tokens=120)
sys.stdout.write(prompt)
for piece in stream:
    sys.stdout.write(piece.text)  # whole characters, and nothing that a stop string could still take back
    sys.stdout.flush()

whole = stream.generation
stats = whole.stats
print(f"\n\n{stats.tokens} tokens in {stats.passes} passes, ended by {whole.finish_reason}")

# the same request in one piece, and without any drafts: the same text
assert decoder.generate(prompt, sampling, max_tokens=120).text == whole.text
assert decoder.generate(prompt, sampling, max_tokens=120, speculate=False).text == whole.text

# leaving the block cancels what has not been decided
with decoder.stream("import os\n", max_tokens=1_000) as stream:
    begun = [next(stream), next(stream)]
print(f"cancelled after {len(stream.generation.token_ids)} tokens: {begun[0].text + begun[1].text!r}")
