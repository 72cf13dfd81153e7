"""Write a custom drafter that proposes known phrases. Wrong drafts cost a little time, but do not change the text."""

import numpy as np

from etesian.decode import CombinedDrafter, Decoder, FixedPolicy, TokenTree

decoder = Decoder.load("smollm2")  # `etesian models pull smollm2` downloads it
tokenizer = decoder.tokenizer


class Phrases:
    """Propose the phrase that usually follows the end of the text."""

    stages = ("phrases",)

    def __init__(self, phrases):
        self.phrases = phrases

    def propose(self, request):
        end = tokenizer.decode(request.text[-8:].tolist())
        for before, after in self.phrases.items():
            if end.endswith(before):
                tokens = tokenizer.encode(after)[: min(request.max_depth, request.max_nodes)]
                return TokenTree.chain(tokens, np.full(len(tokens), 0.8), self.stages[0])
        return TokenTree.empty()

    def observe(self, tree, accepted):
        """Do nothing: the phrases are fixed."""


def report(output):
    """Print the proposed and accepted tokens of each stage."""
    for stage in output.stats.stages:
        print(f"{stage.name}: {stage.accepted} of {stage.proposed} proposed tokens accepted")


prompt = "class Parser:\n    def"
plain = decoder.generate(prompt, max_tokens=40, speculate=False)
decoder.policy = FixedPolicy(8, 4)  # draft in every pass

phrases = Phrases({"    def": " __init__(self", "return": " self.", "self.": "text = text"})
decoder.drafter = CombinedDrafter([phrases, decoder.drafter])  # in addition to the default drafters
drafted = decoder.generate(prompt, max_tokens=40)
print(prompt + drafted.text)
report(drafted)
assert drafted.token_ids == plain.token_ids

decoder.drafter = Phrases({"": " and now for something completely different"})  # always wrong
misled = decoder.generate(prompt, max_tokens=40)
report(misled)
assert misled.token_ids == plain.token_ids
