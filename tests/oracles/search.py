"""References of every search, one utterance and one step at a time, and small models to test them with."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import product

import torch
from hypothesis import strategies as st

from hainan_k2.config import ModelConfig
from hainan_k2.model.joiner import Joiner
from hainan_k2.model.predictor import make_predictor

DURATION_SETS = ((0, 1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 7, 8), (0, 1, 2, 4, 8), (1, 3), (0, 2))


class Speaker(torch.nn.Module):
    """A model without encoder, in float64. Its weights are large, so that its decisions vary from frame to frame."""

    channels = 6

    def __init__(
        self, seed, vocab_size=5, durations=DURATION_SETS[0], predictor="lstm", layers=1, blank_bias=1.0, **options
    ):
        super().__init__()
        config = ModelConfig(
            vocab_size=vocab_size,
            durations=durations,
            **options,
            d_model=self.channels,
            predictor=predictor,
            predictor_dim=8,
            predictor_layers=layers,
            joiner_dim=10,
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.predictor, self.joiner = make_predictor(config), Joiner(config)
            for parameter in self.parameters():
                torch.nn.init.normal_(parameter, std=0.7)
            self.ctc = torch.nn.Linear(self.channels, vocab_size)
        with torch.no_grad():
            for table in self.predictor.embeds if predictor == "concat" else [self.predictor.embed]:
                table.weight[0] = 0.0
            self.joiner.out.bias[0] += blank_bias
        self.config = config
        self.vocab_size, self.durations, self.steps = vocab_size, tuple(durations), {}
        self.double().eval()

    def ctc_log_probs(self, encoder_out):
        """As Hainan.ctc_log_probs."""
        return self.ctc(encoder_out).log_softmax(-1)

    def always(self, duration, token=None):
        """The same model, made to predict one duration (and token) at every frame."""
        with torch.no_grad():
            self.joiner.out.bias[self.vocab_size + self.durations.index(duration)] += 1000.0
            if token is not None:
                self.joiner.out.bias[token] += 1000.0
        return self


def encoder_output(seed, lens, channels=Speaker.channels):
    """Random encoder output (B, T, C), float64, padded with NaN, and lens (B,)."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.randn(len(lens), max(max(lens), 1), channels, generator=generator, dtype=torch.float64)
    for row, length in zip(out, lens):
        row[length:] = math.nan
    return out, torch.tensor(lens)


@st.composite
def batches(draw, max_frames=16, max_utterances=3):
    """(model, encoder output, lens) with random durations, predictors and lengths."""
    durations = draw(st.sampled_from(DURATION_SETS))
    predictor, layers = draw(st.sampled_from((("lstm", 1), ("lstm", 2), ("stateless", 1))))
    seed = draw(st.integers(0, 10**6))
    bias = draw(st.sampled_from((-1.0, 1.0, 3.0)))
    model = Speaker(seed, draw(st.integers(2, 6)), durations, predictor, layers, bias)
    lens = draw(st.lists(st.integers(0, max_frames), min_size=1, max_size=max_utterances))
    return (model, *encoder_output(seed, lens))


def shape(hypothesis):
    """The part of a hypothesis that must agree exactly: ids, frames and durations."""
    return [(token.id, token.frame, token.duration) for token in hypothesis.tokens]


def _log_probs(model, encoded, predicted):
    """Two lists of floats at one frame (C,), with the predictor's output (H,) or None."""
    with torch.no_grad():
        projected = None if predicted is None else model.joiner.project_predictor(predicted)
        tokens, durations = model.joiner.log_probs(model.joiner.project_encoder(encoded), projected)
    return tokens.tolist(), durations.tolist()


def _predict(model, ids):
    """The predictor's output (H,) after [SOS, *ids], one step at a time."""
    return _step(model, tuple(ids))[0][0]


def _step(model, ids):
    """Output and state after [SOS, *ids], stored in the model."""
    if ids not in model.steps:
        state = _step(model, ids[:-1])[1] if ids else model.predictor.initial_state(1, dtype=torch.float64)
        with torch.no_grad():
            model.steps[ids] = model.predictor.step(torch.tensor([ids[-1] if ids else 0]), state)
    return model.steps[ids]


def argmax(values):
    return max(range(len(values)), key=values.__getitem__)


def best_token(tokens, bias, ids):
    """The best token after `ids`; bias(ids, token) is added to its log-probability."""
    return argmax([lp + bias(ids, token) if token else lp for token, lp in enumerate(tokens)])


def rnnt_greedy(model, encoded, max_symbols):
    """RNN-T greedy search without durations, encoded (T, C) -> [(id, frame)]."""
    emitted = []
    for time, frame in enumerate(encoded):
        for _ in range(max_symbols):
            token = argmax(_log_probs(model, frame, _predict(model, [id for id, _ in emitted]))[0])
            if token == 0:
                break
            emitted.append((token, time))
    return emitted


def ctc_greedy(model, encoded):
    """encoded (T, C) -> [(id, frame, duration, confidence)], score: the runs of the best labels that are not blank."""
    with torch.no_grad():
        frames = [log_probs.exp().tolist() for log_probs in model.ctc_log_probs(encoded)]
    runs, score = [], 0.0
    for time, probabilities in enumerate(frames):
        label = argmax(probabilities)
        score += math.log(probabilities[label])
        if not runs or runs[-1][0] != label:
            runs.append([label, time, 0, 0.0])
        runs[-1][2] += 1
        runs[-1][3] += probabilities[label]
    return [(label, time, frames, total / frames) for label, time, frames, total in runs if label], score


def ctc_paths(model, encoded, bonus=0.0, penalty=0.0):
    """Every labelling of the frames encoded (T, C): ([(id, frame, duration)], score with bonus and penalty)."""
    with torch.no_grad():
        rows = model.ctc_log_probs(encoded).tolist()
    for labels in product(range(model.vocab_size), repeat=len(rows)):
        score, path = sum(row[label] for row, label in zip(rows, labels)) - penalty * labels.count(0), []
        for time, label in enumerate(labels):
            if time and label == labels[time - 1]:
                path[-1][2] += bool(label)
            else:
                path.append([label, time, bool(label)])
        tokens = [(label, time, int(duration)) for label, time, duration in path if label]
        yield tokens, score + bonus * len(tokens)


def no_bias(ids, token):
    return 0.0


def ar_greedy(model, encoded, max_symbols, bias=no_bias):
    """encoded (T, C) -> [(id, frame, duration)], score."""
    time, on_frame, emitted, score = 0, 0, [], 0.0
    while time < len(encoded):
        ids = [id for id, _, _ in emitted]
        tokens, durations = _log_probs(model, encoded[time], _predict(model, ids))
        token, index = best_token(tokens, bias, ids), argmax(durations)
        duration = model.durations[index]
        score += tokens[token] + durations[index]
        if token == 0:
            time, on_frame = time + max(1, duration), 0
            continue
        emitted.append((token, time, duration))
        on_frame += 1
        if duration > 0:
            time, on_frame = time + duration, 0
        elif on_frame == max_symbols:
            time, on_frame = time + 1, 0
    return emitted, score


def nar_greedy(model, encoded):
    """encoded (T, C) -> [(id, frame, duration)], score."""
    time, emitted, score = 0, [], 0.0
    while time < len(encoded):
        tokens, durations = _log_probs(model, encoded[time], None)
        token, index = argmax(tokens), argmax(durations)
        score += tokens[token] + durations[index]
        if token != 0:
            emitted.append((token, time, model.durations[index]))
        time += max(1, model.durations[index])
    return emitted, score


def refine(model, encoded, emitted, rounds, bias=no_bias):
    """[(id, frame, duration)] -> the same after at most `rounds` rounds, and [(ids, S, D)] of every round."""
    history = []
    for _ in range(rounds):
        if not emitted:
            break
        ids = [id for id, _, _ in emitted]
        new = []
        for position, (_, frame, duration) in enumerate(emitted):
            tokens, _ = _log_probs(model, encoded[frame], _predict(model, ids[:position]))
            new.append((best_token(tokens, bias, ids[:position]), frame, duration))
        dropped = sum(id == 0 for id, _, _ in new)
        changed = sum(a[0] != b[0] for a, b in zip(new, emitted)) - dropped
        emitted = [token for token in new if token[0] != 0]
        history.append((tuple(id for id, _, _ in emitted), changed, dropped))
        if not changed and not dropped:
            break
    return emitted, history


def nar_tables(model, encoded):
    """T rows of token and of duration log-probabilities of the joint without predictor."""
    rows = [_log_probs(model, frame, None) for frame in encoded]
    return [row[0] for row in rows], [row[1] for row in rows]


def viterbi(token_rows, duration_rows, durations, scale=1.0, blank_penalty=0.0, bonus=0.0, skip=0.0):
    """Best path of the decoding lattice -> [(id, frame, duration)], score; `skip` weighs blanks on skipped frames."""
    length = len(token_rows)
    best = [(-math.inf, [])] * length + [(0.0, [])]  # from every frame to the end
    for time in reversed(range(length)):
        for token, token_lp in enumerate(token_rows[time]):
            prior = bonus if token else -blank_penalty
            for duration, duration_lp in zip(durations, duration_rows[time]):
                target = min(length, time + max(1, duration))
                score, rest = best[target]
                score += token_lp + prior + scale * duration_lp
                score += skip * sum(token_rows[skipped][0] for skipped in range(time + 1, target))
                if score > best[time][0]:
                    best[time] = (score, [(token, time, duration)] * (token != 0) + rest)
    return best[0][1], best[0][0]


def nar_paths(token_rows, duration_rows, durations, time=0, skip=0.0):
    """Every path of the decoding lattice: ([(id, frame)], log-probability); `skip` weighs blanks on skipped frames."""
    if time >= len(token_rows):
        yield [], 0.0
        return
    for duration, duration_lp in zip(durations, duration_rows[time]):
        target = time + max(1, duration)
        skipped = skip * sum(row[0] for row in token_rows[time + 1 : target])
        for rest, score in nar_paths(token_rows, duration_rows, durations, target, skip):
            score += skipped
            for token, token_lp in enumerate(token_rows[time]):
                yield [(token, time)] * (token != 0) + rest, score + token_lp + duration_lp


def all_texts(model, encoded, max_symbols):
    """log P of every token sequence, summed over all alignments that the autoregressive search allows."""
    mass = defaultdict(float)  # (frame, tokens on it, ids) -> probability
    mass[0, 0, ()] = 1.0
    for time in range(len(encoded)):
        for on_frame in range(max_symbols):
            for key in [k for k in mass if k[0] == time and k[1] == on_frame]:
                probability, ids = mass.pop(key), key[2]
                tokens, durations = _log_probs(model, encoded[time], _predict(model, ids))
                for token, token_lp in enumerate(tokens):
                    for duration, duration_lp in zip(model.durations, durations):
                        p = probability * math.exp(token_lp + duration_lp)
                        stays = token != 0 and duration == 0 and on_frame + 1 < max_symbols
                        landing = time if stays else min(len(encoded), time + max(1, duration))
                        count = on_frame + 1 if stays else 0
                        mass[landing, count, ids + (token,) if token else ids] += p
    return {ids: math.log(p) for (_, _, ids), p in mass.items() if p > 0}
