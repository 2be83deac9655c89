"""Chunks on a Dask cluster: results in order, once, also where a worker is killed."""

import os
import signal
import time

import pytest

from hainan_k2.cluster import Cluster

pytest.importorskip("distributed")


def slow_square(number):
    """The square, after a time in which even numbers overtake odd ones, and the process that computed it."""
    time.sleep(0.01 if number % 2 == 0 else 0.05)
    return number * number, os.getpid()


def fails_at_three(number):
    if number == 3:
        raise ValueError("3 is not a number")
    return number


def end_this_worker(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def two():
    with Cluster("local:2") as cluster:
        yield cluster


def test_results_are_in_order_and_chunks_are_taken_as_they_are_needed(two):
    taken = []

    def chunks():
        for number in range(40):
            taken.append(number)
            yield number

    results = []
    for square, pid in two.map(slow_square, chunks()):
        results.append((square, pid))
        assert len(taken) <= len(results) + two.ahead
    assert [square for square, _ in results] == [number * number for number in range(40)]
    assert len({pid for _, pid in results}) == 2


def test_workers_that_come_later_get_chunks_too():
    with Cluster("local:1") as cluster:
        before = cluster.ahead
        cluster.processes.scale(2)
        cluster.client.wait_for_workers(2)
        assert cluster.ahead == 2 * before


def test_an_error_of_a_chunk_comes_after_the_results_before_it(two):
    results = []
    with pytest.raises(ValueError, match="3 is not a number"):
        for result in two.map(fails_at_three, range(9)):
            results.append(result)
    assert results == [0, 1, 2]


def test_the_chunk_of_a_killed_worker_is_computed_again(two):
    results = []
    for square, pid in two.map(slow_square, range(30)):
        results.append(square)
        if len(results) == 3:
            os.kill(pid, signal.SIGKILL)
    assert results == [number * number for number in range(30)]


def test_a_chunk_that_kills_every_worker_is_given_up(two):
    with pytest.raises(ValueError, match="a chunk was given up, because its workers were killed"):
        list(two.map(end_this_worker, [1]))


@pytest.mark.parametrize("address", ["local:0", "local", "8786", "http://here:8786", "tcp://127.0.0.1:1"])
def test_bad_addresses(address, monkeypatch):
    monkeypatch.setattr("hainan_k2.cluster.PATIENCE", 1)
    with pytest.raises(ValueError, match=f"--dask {address}: "):
        Cluster(address)
