"""A plain reference of the refinement that inserts: one utterance, one frame at a time."""

from __future__ import annotations

import math

from tests.oracle_search import _log_probs, _predict, argmax


def _path(frames, durations):
    """Walk through frames, each (token log-probs, duration log-probs) -> [(id, frame, duration)], score."""
    time, emitted, score = 0, [], 0.0
    while time < len(frames):
        tokens, lengths = frames[time]
        token, index = argmax(tokens), argmax(lengths)
        score += tokens[token] + lengths[index]
        if token != 0:
            emitted.append((token, time, durations[index]))
        time += max(1, durations[index])
    return emitted, score


def sar_insert(model, encoded, rounds, confidence):
    """encoded (T, C) -> [(id, frame, duration)], their confidences, score, and [(ids, S, D, I)] of every round."""
    frames = [_log_probs(model, frame, None) for frame in encoded]
    unsure = [time for time, (tokens, _) in enumerate(frames) if math.exp(max(tokens)) <= confidence]
    emitted, score = _path(frames, model.durations)
    history = []
    for _ in range(rounds):
        if not unsure:
            break
        for time in unsure:
            ids = [id for id, frame, _ in emitted if frame < time]
            frames[time] = _log_probs(model, encoded[time], _predict(model, ids))
        before = {frame: id for id, frame, _ in emitted}
        emitted, score = _path(frames, model.durations)
        after = {frame: id for id, frame, _ in emitted}
        changes = (
            sum(before[frame] != after[frame] for frame in before.keys() & after.keys()),
            len(before.keys() - after.keys()),
            len(after.keys() - before.keys()),
        )
        history.append((tuple(id for id, _, _ in emitted), *changes))
        if changes == (0, 0, 0):
            break
    return emitted, [math.exp(frames[frame][0][id]) for id, frame, _ in emitted], score, history
