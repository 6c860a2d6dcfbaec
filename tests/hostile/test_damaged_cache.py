"""The cache of facts: damaged in any place and still JSON, it changes nothing that is found."""

import json
import os

import numpy as np
import pytest

from utils.checking.scan import FactsCache
from utils.data.voc import read_samples

WRONG = [None, -1, 3.5, "x", [], {}, True, [1, 2, 3, 4]]


def scan_all(path, samples):
    cache = FactsCache(path)
    facts = [cache.scan(sample) for sample in samples]
    cache.save()
    return facts


def leaves(value, place=()):
    """The places of all parts of a JSON value."""
    yield place
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        if isinstance(part, (dict, list)):
            yield from leaves(part, (*place, key))
        else:
            yield (*place, key)


def put(value, place, new):
    """The JSON value with another one in a place."""
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(copy[place[0]], place[1:], new)
    return copy


@pytest.fixture
def cached(voc_dir, tmp_path):
    samples = read_samples(voc_dir, "val")
    path = tmp_path / "cache.json"
    return path, samples, scan_all(path, samples), json.loads(path.read_text())


def test_any_damage_to_any_part_is_found(cached):
    path, samples, facts, content = cached
    rng = np.random.default_rng(0)
    places = list(leaves(content))
    assert len(places) > 30
    for place in places:
        new = WRONG[rng.integers(len(WRONG))]
        path.write_text(json.dumps(put(content, place, new)))
        assert scan_all(path, samples) == facts, (place, new)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "null", "3", '"x"', "[1]", "{}", '{"a": {"b": 1}}', "NaN"]
)
def test_what_is_no_cache_is_none(cached, text):
    path, samples, facts, _ = cached
    path.write_text(text)
    assert scan_all(path, samples) == facts
    assert scan_all(path, samples) == facts  # from what was written anew


def test_a_whole_cache_is_used(cached, monkeypatch):
    path, samples, facts, _ = cached
    monkeypatch.setattr("utils.checking.scan.scan_pair", lambda *_, **__: pytest.fail("read anew"))
    assert scan_all(path, samples) == facts


def test_a_copy_with_the_size_and_time_of_before_is_read_anew(cached):
    """As `cp -p` makes it, or a clock that was set back."""
    path, samples, facts, _ = cached
    mask = samples[0].mask_path
    data, stat = bytearray(mask.read_bytes()), mask.stat()
    other = mask.with_name("other.png")
    other.write_bytes(data)
    os.replace(other, mask)
    os.utime(mask, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "utils.checking.scan.scan_pair", lambda sample, **_: seen.append(sample) or facts[0]
        )
        scan_all(path, samples)
    assert seen == samples[:1]
