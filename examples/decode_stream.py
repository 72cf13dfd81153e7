"""Stream text, several tokens at a time; end it at a stop string, or cancel it."""

import sys

from etesian.decode import Decoder, FixedPolicy, Sampling

decoder = Decoder.load("bundled")
decoder.policy = FixedPolicy(
    16, 8
)  # draft in every pass; by default the decoder drafts only where it is faster, which is rare for small models
prompt = "def area_of_circle(radius):\n    "

# each piece holds the tokens of one pass of the target
sampling = Sampling(temperature=0.6, top_p=0.95, seed=3, stop=["\n\n"])
stream = decoder.stream(prompt, sampling, max_tokens=120)
sys.stdout.write(prompt)
for piece in stream:
    sys.stdout.write(piece.text)  # complete characters, without text that may become part of a stop string
    sys.stdout.flush()

whole = stream.generation
stats = whole.stats
print(f"\n\n{stats.tokens} tokens in {stats.passes} passes, ended by {whole.finish_reason}")

# without streaming and without drafts, the text is the same
assert decoder.generate(prompt, sampling, max_tokens=120).text == whole.text
assert decoder.generate(prompt, sampling, max_tokens=120, speculate=False).text == whole.text

# leaving the block cancels the request
with decoder.stream("import os\n", max_tokens=1_000) as stream:
    begun = [next(stream), next(stream)]
print(f"cancelled after {len(stream.generation.token_ids)} tokens: {begun[0].text + begun[1].text!r}")
