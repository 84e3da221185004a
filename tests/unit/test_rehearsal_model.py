"""The tiny model: the same bytes each time, readable as GGUF, and its one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np
import pytest

from provision.rehearsal import model


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    model.write_model(path)
    return path


def test_is_the_same_each_time(written, tmp_path):
    again = tmp_path / "again.gguf"
    model.write_model(again)
    assert (
        hashlib.sha256(written.read_bytes()).digest() == hashlib.sha256(again.read_bytes()).digest()
    )
    assert written.stat().st_size < 8 * 1024 * 1024


def test_is_a_llama_model_that_a_reader_knows(written):
    reader = gguf.GGUFReader(written)
    said = {name: reader.fields[name] for name in ("general.architecture", "general.name")}
    assert [bytes(field.parts[-1]).decode() for field in said.values()] == [
        "llama",
        "holdfast-tiny",
    ]
    tokens = reader.fields["tokenizer.ggml.tokens"]
    shapes = {tensor.name: list(tensor.shape) for tensor in reader.tensors}
    assert shapes["token_embd.weight"][1] == len(tokens.data)
    assert shapes["output.weight"] == shapes["token_embd.weight"]


def test_says_its_sentence_whatever_comes_first(written):
    """Greedy decoding by hand: with all else zero, a token's embedding meets the output table."""
    reader = gguf.GGUFReader(written)
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[i]).decode() for i in field.data]
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    token, said = tokens.index("<s>"), []
    while len(said) < 40:
        token = int(np.argmax(tensors["output.weight"] @ tensors["token_embd.weight"][token]))
        if tokens[token] == "</s>":
            break
        said.append(tokens[token])
    assert "".join(said).replace("▁", " ").strip() == model.answer()
    assert model.answer() == "This rack answers on its own, and no upstream was asked."
