"""A tiny language model made on the spot: the same bytes every time, loaded by a real engine.

It is a table of which word follows which, written as a one-block llama network whose attention
and feed-forward weights are zero, so that each token's embedding reaches the output layer
unchanged. It knows one sentence. It is there to prove the path from a prompt to an answer,
not to be clever.
"""

from __future__ import annotations

from pathlib import Path

SENTENCE = "This rack answers on its own , and no upstream was asked ."
"""What the model says. All words differ, so that the most likely next word is always certain."""

_WIDTH = 320  # embedding size: at least one dimension for each token, a multiple of the heads
_UNLIKELY = -30.0  # natural log of the probability of a word that does not follow
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def answer() -> str:
    """The text that the model completes any prompt with."""
    return SENTENCE.replace(" ,", ",").replace(" .", ".")


def write_model(path: Path) -> None:
    """Write the model as GGUF to `path` (about 2 MB, float32)."""
    import gguf
    import numpy as np

    words = _pieces()
    specials = [("<unk>", gguf.TokenType.UNKNOWN), ("<s>", gguf.TokenType.CONTROL),
                ("</s>", gguf.TokenType.CONTROL)]  # fmt: skip
    tokens = [name for name, _ in specials] + [f"<0x{n:02X}>" for n in range(256)] + ["▁", *words]
    kinds = [kind for _, kind in specials] + [gguf.TokenType.BYTE] * 256
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))
    end, first = tokens.index("</s>"), tokens.index(words[0])

    follows = np.full(len(tokens), first)
    for word, after in zip(words, [*words[1:], "</s>"], strict=True):
        follows[tokens.index(word)] = tokens.index(after)
    table = np.full((len(tokens), _WIDTH), _UNLIKELY, dtype=np.float32)
    for token, after in enumerate(follows):
        table[after, token] = 0.0
    # The final norm scales a one-hot vector by the square root of the width.
    table /= np.sqrt(np.float32(_WIDTH))

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("holdfast-tiny")
    writer.add_context_length(4096)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(5)
    writer.add_head_count_kv(5)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(_WIDTH // 5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token.encode() for token in tokens])
    writer.add_token_scores([0.0 if kind != gguf.TokenType.NORMAL else -1.0 for kind in kinds])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(end)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(_TEMPLATE)

    def zeros(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.zeros(shape, dtype=np.float32)

    embedding = zeros(len(tokens), _WIDTH)
    embedding[np.arange(len(tokens)), np.arange(len(tokens))] = 1.0
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, dtype=np.float32))
    writer.add_tensor("output.weight", table)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", zeros(_WIDTH, _WIDTH))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", zeros(32, _WIDTH))
    writer.add_tensor("blk.0.ffn_down.weight", zeros(_WIDTH, 32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(_WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _pieces() -> list[str]:
    """The words as vocabulary entries; a leading "▁" stands for a space."""
    return [word if word in ",." else f"▁{word}" for word in SENTENCE.split()]
