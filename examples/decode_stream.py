"""Stream text, several tokens at a time; end it at a stop string, or cancel it."""

import sys

from etesian.decode import Decoder, Sampling

decoder = Decoder.load("smollm2")  # `etesian models pull smollm2` downloads it
prompt = "Three facts about the wind:\n\n1. The wind is moving air.\n2."

# each piece holds the tokens of one pass of the target
sampling = Sampling(temperature=0.6, top_p=0.95, seed=3, stop=["\n4."])
stream = decoder.stream(prompt, sampling, max_tokens=60)
sys.stdout.write(prompt)
for piece in stream:
    sys.stdout.write(piece.text)  # complete characters, without text that may become part of a stop string
    sys.stdout.flush()

whole = stream.generation
stats = whole.stats
print(f"\n\n{stats.tokens} tokens in {stats.passes} passes, ended by {whole.finish_reason}")

# without streaming and without drafts, the text is the same
assert decoder.generate(prompt, sampling, max_tokens=60).text == whole.text
assert decoder.generate(prompt, sampling, max_tokens=60, speculate=False).text == whole.text

# leaving the block cancels the request
with decoder.stream("The sea", max_tokens=1_000) as stream:
    begun = [next(stream), next(stream)]
print(f"cancelled after {len(stream.generation.token_ids)} tokens: {begun[0].text + begun[1].text!r}")
