"""References of hotwords: every phrase is looked for at every position."""

from hypothesis import strategies as st


def paid(phrases, starts_word, ids):
    """The sum of weight x tokens over all places in `ids` where a phrase of {ids: weight} stands as whole words."""
    total = 0.0
    for phrase, weight in phrases.items():
        for end in range(len(phrase), len(ids) + 1):
            whole = end == len(ids) or starts_word[ids[end]]
            if whole and tuple(ids[end - len(phrase) : end]) == phrase:
                total += weight * len(phrase)
    return total


def token_bias(phrases):
    """bias(ids, token): the largest weight of the phrases that the token begins or continues after `ids`."""

    def bias(ids, token):
        extended = (*ids, token)
        return max(
            (
                weight
                for phrase, weight in phrases.items()
                for length in range(1, len(phrase) + 1)
                if extended[-length:] == phrase[:length]
            ),
            default=0.0,
        )

    return bias


@st.composite
def hotwords(draw, vocab_size):
    """({ids: weight}, [starts_word of every token]) over tokens 1 ... vocab_size - 1; token 1 starts a word."""
    starts = [False, True, *draw(st.lists(st.booleans(), min_size=vocab_size - 2, max_size=vocab_size - 2))]
    token = st.integers(1, vocab_size - 1)
    phrase = st.tuples(token.filter(lambda i: starts[i]), st.lists(token, max_size=3)).map(lambda p: (p[0], *p[1]))
    return draw(st.dictionaries(phrase, st.sampled_from((0.0, 0.5, 1.0, 3.0)), min_size=1, max_size=6)), starts
