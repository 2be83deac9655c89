"""Beam search of a stream: the encoder's frames arrive in pieces, and tokens become final one after another.

The hypotheses stay where they are between the pieces. A frame is searched as soon as no duration leads from it to the
end of the stream, wherever that will be. So the search does what it does with the whole (hainan_k2.search.ar_search),
and so has the same result. Tokens that all hypotheses share are final: what the search keeps grows out of these
hypotheses. The trail of final tokens and of hypotheses that were dropped is forgotten, so that memory does not grow
with the length of the stream, only with how long hypotheses disagree.

Refused are what needs the whole before it begins: the guide `nar`, which is a score of all frames to come, and
grammars and graphs, outside of which an utterance is searched again. A language model that allows no text is an error
here; where the whole is known, the search without it takes its place.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from hainan_k2.model.hainan import Hainan
from hainan_k2.result import Token
from hainan_k2.search.ar_columns import NODE, PREDICTION, STATE, TIME
from hainan_k2.search.ar_results import Trail, read_hypotheses
from hainan_k2.search.ar_search import ArSearch
from hainan_k2.search.beam import make_automaton
from hainan_k2.search.emissions import Frames
from hainan_k2.search.options import SearchConfig
from hainan_k2.search.resources import NO_RESOURCES, DecodingResources


class StreamingBeam(ArSearch):
    """ar-beam with language models and hotwords, if given: the tokens of all pieces are those of the whole utterance.

    num_frames: accepted so far. Times count from the beginning of the stream.
    """

    @torch.inference_mode()
    def __init__(self, model: Hainan, options: SearchConfig, resources: DecodingResources = NO_RESOURCES) -> None:
        """Raises ValueError for guide `nar`, an n-best list, a grammar and a graph."""
        if options.guide != "none":
            raise ValueError(f"guide {options.guide} needs the whole recording before it begins: a stream takes none")
        if options.nbest > 1:
            raise ValueError(f"nbest {options.nbest}: a stream has one text, and no list of others")
        if resources.grammar is not None or resources.graph is not None:
            raise ValueError(
                "a grammar or graph needs the whole recording: a stream takes language models and hotwords"
            )
        weight = model.joiner.enc.weight
        automaton, _ = make_automaton(options, resources.to(weight.device), weight.device)
        none = torch.zeros(1, dtype=torch.int64, device=weight.device)
        frames = Frames(weight.new_zeros(0, weight.shape[0]), none, none, 0)
        super().__init__(model, frames, options, automaton)
        self.extension.replace_rows(0, frames.values, None)
        self.score = torch.zeros_like(self.score)
        self.num_frames = 0
        self.least = 0  # frames of the whole, as far as they are known to come
        self.reach = max(1, *model.durations)

    @torch.inference_mode()
    def accept(self, encoder_out: Tensor, more: int = 0) -> list[Token]:
        """Search the next frames, encoder_out (T, C); returns the tokens that are final now.

        more: frames that are known to follow, at least. With as many as the longest duration has, all of encoder_out
        is searched, else the last of its frames wait for the next.
        Raises ValueError where the language model allows no text.
        """
        self._append(encoder_out, None)
        self.least = max(self.least, self.num_frames + more)
        self.run(self.extension.symbols * max(0, min(self.num_frames, self.least - self.reach)))
        return self._commit()

    @torch.inference_mode()
    def preview(self, encoder_out: Tensor) -> list[Token]:
        """The tokens behind the final ones, if the stream ended with the frames encoder_out (T, C)."""
        other = copy.copy(self)
        other.extension, other.predictions = copy.copy(self.extension), self.predictions.copied()
        other.columns, other.trail = self.columns.clone(), list(self.trail)
        other._append(encoder_out, None)
        return other.finish()

    @torch.inference_mode()
    def finish(self) -> list[Token]:
        """The tokens behind the final ones. The stream has ended.

        Raises ValueError where the language model allows no text, and if fewer frames came than were known to follow.
        """
        if self.num_frames < self.least:
            raise ValueError(f"a stream of {self.num_frames} frames: {self.least} were known to come")
        self._append(self.extension.hidden[:0], self.num_frames)
        if not self.num_frames:
            self.score = self.extension.automaton.final(self.columns[STATE])
        self.run()
        self._check()
        (found,) = read_hypotheses(self, [self.num_frames], 1)
        return list(found.hypothesis.tokens)

    def _append(self, encoder_out: Tensor, end: int | None) -> None:
        """Add frames, and drop those that all hypotheses have left."""
        extension = self.extension
        first = min(int(self.columns[TIME].min()) // extension.symbols, self.num_frames)
        projected = (
            self.extension.model.joiner.project_encoder(encoder_out) if len(encoder_out) else extension.hidden[:0]
        )
        hidden = torch.cat([extension.hidden[first - extension.first_row :], projected])
        extension.replace_rows(first, hidden, end)
        self.num_frames += len(encoder_out)

    def _commit(self) -> list[Token]:
        """The tokens that all hypotheses share, which are dropped from the trail with all that no hypothesis needs."""
        self._check()
        self.columns[PREDICTION] = self.predictions.keep(self.columns[PREDICTION])
        trail = Trail(self)
        nodes = self.columns[NODE, 0].tolist()
        paths = [trail.path(node) for node in nodes]
        shared = sum(len(set(of_depth)) == 1 for of_depth in zip(*paths))  # paths that part never meet again
        final = paths[0][:shared]
        kept = sorted({node for path in paths for node in path[shared:]})
        number = {node: n for n, node in enumerate(kept)}
        index = torch.tensor(kept, dtype=torch.int64, device=self.score.device)
        if self.trail:
            _, *columns = (torch.cat(column).index_select(0, index) for column in zip(*self.trail))
            parents = index.new_tensor([number.get(trail.parents[node], -1) for node in kept])
            self.trail, self.trail_size = [(parents, *columns)], len(kept)
        self.columns[NODE, 0] = index.new_tensor([number.get(node, -1) for node in nodes])
        return list(trail.tokens(final, 0))

    def _check(self) -> None:
        """ValueError if no hypothesis is left."""
        if not bool((self.score > -torch.inf).any()):
            what = "the model" if self.extension.automaton.trivial else "the language model, or the model itself,"
            raise ValueError(f"{what} gives no text a probability within the first {self.num_frames} frames")
