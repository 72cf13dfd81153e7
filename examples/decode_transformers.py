"""Speed up `generate` of transformers with one more argument. A draft model does not change the text."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from etesian.decode import speculative


def random_model(seed, n_layer):
    """Return a randomly initialized transformers model."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=500, n_embd=64, n_layer=n_layer, n_head=4, bos_token_id=0, eos_token_id=0)
    ).eval()


model, draft = random_model(0, n_layer=6), random_model(1, n_layer=1)
prompt = torch.tensor([[5, 17, 42, 5, 17, 42, 5]])

speculate = speculative(draft=draft)  # without a draft model, drafts come from lookup in the text
sooner = model.generate(prompt, custom_generate=speculate, max_new_tokens=60, do_sample=False)
plain = model.generate(prompt, max_new_tokens=60, do_sample=False)

print(sooner[0, prompt.shape[1] :].tolist())
print("same tokens as plain transformers:", torch.equal(sooner, plain))
assert torch.equal(sooner, plain)

# sampled text has the same distribution as in plain transformers, and is reproducible with torch's seed
texts = []
for _ in range(2):
    torch.manual_seed(3)
    out = model.generate(
        prompt, custom_generate=speculate, max_new_tokens=20, do_sample=True, temperature=0.8, top_k=40
    )
    texts.append(out[0, prompt.shape[1] :].tolist())
print("sampled:", texts[0])
assert texts[0] == texts[1]
