"""Embed the words of Python's reference documentation, and look up nearest neighbors."""

import re
from pydoc_data.topics import topics

from etesian.sparse import WordEmbedding

sentences = [
    re.findall(r"[a-z]+", sentence) for page in topics.values() for sentence in re.split(r"[.!?:]\s", page.lower())
]

model = WordEmbedding(n_dimensions=40, window=5, step_size=0.05, max_iter=40, random_state=0).fit(sentences)
print(model.plan_)
print(f"{len(model.words_):,} words, {model.n_iter_} epochs, {model.outcome_}")

for word in ("integer", "exception", "async"):
    print(f"{word:10}", ", ".join(near for near, _ in model.most_similar(word, n=5)))

model.save_word2vec("vectors.txt")
print("wrote vectors.txt in the text format of word2vec")
