"""Training losses: full, pruned and simple transducer losses summed by k2 or torch, and sequence scores.

Nothing is imported here: `from hainan_k2.fsa.losses.tdt import tdt_loss`, or `from hainan_k2 import tdt_loss`.
"""
