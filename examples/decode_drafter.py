"""Write your own drafter from known phrases. A wrong draft costs a little time and does not change the text."""

import numpy as np

from etesian.decode import CombinedDrafter, Decoder, FixedPolicy, TokenTree

decoder = Decoder.load("bundled")
tokenizer = decoder.tokenizer


class Phrases:
    """Proposes what usually follows the end of the text, as a chain."""

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
        """Nothing to learn: what is known is known."""


def report(output):
    """Say what each stage proposed, and what the target took of it."""
    for stage in output.stats.stages:
        print(f"{stage.name}: {stage.accepted} of {stage.proposed} proposed tokens taken")


prompt = "class Parser:\n    def"
plain = decoder.generate(prompt, max_tokens=80, speculate=False)
decoder.policy = FixedPolicy(16, 8)  # drafts always, so that each drafter is heard

phrases = Phrases({"    def": " __init__(self", "return": " self.", "import": " numpy as np\n"})
decoder.drafter = CombinedDrafter([phrases, decoder.drafter])  # beside those that the decoder came with
drafted = decoder.generate(prompt, max_tokens=80)
print(prompt + drafted.text)
report(drafted)
assert drafted.token_ids == plain.token_ids

decoder.drafter = Phrases({"": " and now for something completely different"})  # as wrong as can be
misled = decoder.generate(prompt, max_tokens=80)
report(misled)
assert misled.token_ids == plain.token_ids
