"""Make a tiny vision-language model of noise: what real servers load where no real weights may be had.

    python make_tiny_vlm.py OUT [--think | --wild --bias 0.2]

OUT/hf/          a Hugging Face folder, for vLLM and transformers
OUT/tiny.gguf    the language model, and OUT/mmproj.gguf, its eyes: for llama-server

It has the shape of Qwen2-VL with 1.6 million random parameters, sees pictures (other pixels, other words), and
answers in grammar-constrained JSON; free text means nothing and seldom ends. A channel of the residual stream that
nothing writes to carries the letters' and words' frequencies into the logits, so that quotes, braces and the end of
a turn come as often as they should. The same arguments make the same files. Needs torch, transformers, tokenizers,
numpy and gguf, in an environment of its own; about 15 s, nothing is fetched.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

import gguf
import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

CONTEXT = 8192
HIDDEN = 128
VOCABULARY = 4096
NOISE = 2.0  # spread of the logits that the context decides

SPECIAL = [
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
]
THOUGHTS = ["<think>", "</think>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n@PAST@"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
    "{% if p.type in ['image', 'image_url'] or 'image' in p or 'image_url' in p %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in p %}{{ p.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n@THINK@{% endif %}"
)
#: What the template of a reasoning model adds. llama-server knows such a model by the first part.
PAST = "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
THINK = "<think>\n{% if enable_thinking is defined and enable_thinking is false %}\n</think>\n\n{% endif %}"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = (
    *("the", "photo", "shows", "a", "page", "with", "dark", "borders", "and", "sharp", "text", "scan", "of"),
    *("film", "frame", "sky", "people", "standing", "near", "house", "blurred", "left", "right", "top"),
    *("bottom", "date", "title", "caption", "none", "unknown", "true", "false", "null", "sharpness"),
    *("exposure", "people_count", "colour", "quality", "description", "tags", "score", "reason", "written"),
    *("in", "ink", "on", "paper", "year", "letter", "portrait", "landscape", "damage", "dust", "scratch"),
)
#: How byte-level tokens spell a space, a line end, and the other two blanks that JSON knows.
SPACE, LINE_END, OTHER_BLANKS = "\u0120", "\u010a", "\u0109\u010d"


def sentences(chance: random.Random, count: int = 6000) -> Iterator[str]:
    """Yield JSON objects and sentences of a few words, by turns."""

    def some(number: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(number))

    def anything() -> object:
        return chance.choice(
            [some(4), chance.randint(0, 2000), chance.random() < 0.5, None, [some(1), some(2)]]
        )

    for _ in range(count):
        pairs = {chance.choice(WORDS): anything() for _ in range(4)}
        yield json.dumps(pairs, indent=chance.choice([None, 2]))
        yield f"{some(9).capitalize()}. {some(5).capitalize()}?"


def english() -> list[str]:
    """Return half a megabyte of English that every Python has."""
    return [paragraph for topic in topics.values() for paragraph in topic.split("\n\n")]


def make_tokenizer(special: list[str]) -> tuple[Tokenizer, np.ndarray]:
    """Return a byte-level BPE tokenizer, and how often each of its tokens comes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, letters])
    tokenizer.decoder = decoders.ByteLevel()
    text = list(sentences(random.Random(0)))
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(special),
        special_tokens=[],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(english() + text[:1500], trainer)
    tokenizer.add_special_tokens(special)
    counts = np.zeros(tokenizer.get_vocab_size())
    for line in text:
        for token in tokenizer.encode(line).ids:
            counts[token] += 1
    return tokenizer, counts / counts.sum()


def configuration(tokenizer: Tokenizer, size: int) -> Qwen2VLConfig:
    """Return the shape of the model."""
    token = tokenizer.token_to_id
    rotary = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [HIDDEN // 32, HIDDEN * 3 // 64, HIDDEN * 3 // 64],
    }
    language = {
        "vocab_size": size,
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "rope_parameters": rotary,
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": token("<|endoftext|>"),
    }
    eyes = {
        "depth": 2,
        "embed_dim": 64,
        "hidden_size": HIDDEN,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "in_channels": 3,
    }
    return Qwen2VLConfig(
        text_config=language,
        vision_config=eyes,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
    )


def make_model(
    options: Namespace, tokenizer: Tokenizer, frequencies: np.ndarray, shape: Qwen2VLConfig
) -> Qwen2VLForConditionalGeneration:
    """Return the model, with random weights and the frequencies built into its last layer."""
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(shape).eval()
    language = model.model.language_model
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.ndim > 1:  # gains so high that another picture means other words
                gain = 1.5 if ".q_" in name or ".k_" in name else 1.0
                gain = 2.5 if "v_proj" in name or "o_proj" in name else gain
                weights.normal_(0, gain / math.sqrt(weights[0].numel()))
        language.embed_tokens.weight.normal_(0, 0.5)
        # Channel 0 of the residual stream: a constant that nothing writes to.
        language.embed_tokens.weight[:, 0] = 8.0
        for layer in language.layers:
            layer.self_attn.o_proj.weight[0] = 0
            layer.mlp.down_proj.weight[0] = 0
        merger = model.model.visual.merger
        merger.mlp[2].weight[0] = 0
        merger.mlp[2].bias[0] = 8.0
        head = model.lm_head.weight
        head.normal_(0, NOISE / math.sqrt(HIDDEN))
        tokens = torch.randint(0, len(frequencies), (4, 64))
        constant = language(input_ids=tokens).last_hidden_state[..., 0].mean().item()
        wanted = np.log(likelihoods(options, tokenizer, frequencies, head.shape[0]))
        head[:, 0] = torch.tensor(wanted * options.bias / constant, dtype=head.dtype)
        if options.think:
            end_thoughts_once(model, tokenizer)
    return model


def end_thoughts_once(model: Qwen2VLForConditionalGeneration, tokenizer: Tokenizer) -> None:
    """Make </think> out of the question behind a </think>, and the end of the turn likely there only.

    As in a real model, whether it wrote that </think> itself or the template did. Channel 1 of the residual
    stream says that a token is </think>; the first layer's first head looks for one in all that stands before,
    and says in channel 2 whether there is.
    """
    end, over = tokenizer.token_to_id("</think>"), tokenizer.token_to_id("<|im_end|>")
    language, head = model.model.language_model, model.lm_head.weight
    its, found = 1, 2
    language.embed_tokens.weight[:, [its, found]] = 0
    language.embed_tokens.weight[end, its] = 8.0
    for layer in language.layers:
        layer.self_attn.o_proj.weight[[its, found]] = 0
        layer.mlp.down_proj.weight[[its, found]] = 0
    merger = model.model.visual.merger
    merger.mlp[2].weight[[its, found]] = 0
    merger.mlp[2].bias[[its, found]] = 0
    attention = language.layers[0].self_attn
    width = attention.head_dim
    slow = width // 2 - 1  # the channel of a head that the position turns least
    for part in (attention.q_proj, attention.k_proj, attention.v_proj):
        part.weight[:width] = 0
        part.bias[:width] = 0
    attention.q_proj.bias[slow] = 6.0
    attention.k_proj.weight[slow, its] = 6.0
    attention.v_proj.weight[0, its] = 1.0
    attention.o_proj.weight[:, :width] = 0
    attention.o_proj.weight[found, 0] = 0.5
    head[:, [its, found]] = 0
    head[end, found] = -40.0
    head[over, found] = 1.0


def likelihoods(options: Namespace, tokenizer: Tokenizer, frequencies: np.ndarray, size: int) -> np.ndarray:
    """Return how likely each token shall be, whatever stands before it."""
    likely = np.full(size, 1e-9)
    likely[: len(frequencies)] = np.maximum(frequencies, 5e-6)
    plain = {*map(chr, range(33, 127)), SPACE, LINE_END}
    for spelling, token in tokenizer.get_vocab().items():
        if spelling in SPECIAL or spelling in THOUGHTS or not (options.wild or set(spelling) <= plain):
            likely[token] = 1e-12
        elif not spelling.strip(SPACE + LINE_END + OTHER_BLANKS):
            # Between the parts of JSON vLLM's grammar allows blanks without end. A wild model seldom begins
            # with them, least of all at temperature 0, and seldom leaves off.
            likely[token] = 1e-12 if options.wild else 1e-9
    likely[tokenizer.token_to_id("<|im_end|>")] = 0.15
    if options.think:
        likely[tokenizer.token_to_id("<|im_end|>")] = 1e-6
        likely[tokenizer.token_to_id("</think>")] = 0.6
    return likely


def save_folder(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: Tokenizer,
    template: str,
    special: list[str],
    folder: Path,
) -> None:
    """Write the model as a Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    model.to(torch.float32)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=CONTEXT,
        chat_template=template,
        additional_special_tokens=special[1:],
    )
    fast.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(
        json.dumps({**json.loads(settings.read_text()), "tokenizer_class": "Qwen2TokenizerFast"}, indent=1)
    )
    pixels = {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 1280}
    looking = {
        **pixels,
        "size": {"shortest_edge": pixels["min_pixels"], "longest_edge": pixels["max_pixels"]},
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(looking, indent=1))
    ends = [tokenizer.token_to_id(name) for name in ("<|im_end|>", "<|endoftext|>")]
    sampling = {"eos_token_id": ends, "pad_token_id": ends[1], "do_sample": True, "temperature": 1.0}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    (folder / "chat_template.jinja").write_text(template)


def save_language(
    model: Qwen2VLForConditionalGeneration, tokenizer: Tokenizer, template: str, size: int, file: Path
) -> None:
    """Write the language model as GGUF."""
    shape = model.config.text_config
    writer = gguf.GGUFWriter(str(file), "qwen2vl")
    writer.add_name("tiny-random-qwen2vl")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_freq_base(1e6)
    writer.add_vocab_size(size)
    writer.add_rope_dimension_sections([HIDDEN // 32, HIDDEN * 3 // 64, HIDDEN * 3 // 64, 0])
    spellings = {token: spelling for spelling, token in tokenizer.get_vocab().items()}

    def kind(token: int) -> gguf.TokenType:
        spelling = spellings.get(token)
        if spelling is None:
            return gguf.TokenType.UNUSED
        if spelling in THOUGHTS:
            return gguf.TokenType.USER_DEFINED
        return gguf.TokenType.CONTROL if spelling in SPECIAL else gguf.TokenType.NORMAL

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([spellings.get(token, f"[PAD{token}]") for token in range(size)])
    writer.add_token_types([kind(token) for token in range(size)])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_pad_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2VL, shape.num_hidden_layers)
    for name, weights in tensors(model).items():
        if not name.startswith("visual."):
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), weights)
    finish(writer)


def save_eyes(model: Qwen2VLForConditionalGeneration, file: Path) -> None:
    """Write the vision tower as GGUF."""
    shape = model.config.vision_config
    writer = gguf.GGUFWriter(str(file), "clip")
    writer.add_type("mmproj")
    writer.add_name("tiny-random-qwen2vl-vision")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("qwen2vl_merger")
    writer.add_vision_projection_dim(HIDDEN)
    writer.add_vision_image_size(560)
    writer.add_vision_patch_size(shape.patch_size)
    writer.add_vision_embedding_length(shape.embed_dim)
    writer.add_vision_feed_forward_length(int(shape.embed_dim * shape.mlp_ratio))
    writer.add_vision_block_count(shape.depth)
    writer.add_vision_head_count(shape.num_heads)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.48145466, 0.4578275, 0.40821073])
    writer.add_vision_image_std([0.26862954, 0.26130258, 0.27577711])
    # The merger's layers are named by their index too, which goes up to 2.
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, max(shape.depth, 4))
    for name, weights in tensors(model).items():
        if not name.startswith("visual."):
            continue
        if "patch_embed" in name:  # a 3-D kernel: one 2-D kernel for each of two frames
            writer.add_tensor("v.patch_embd.weight", np.ascontiguousarray(weights[:, :, 0]))
            writer.add_tensor("v.patch_embd.weight.1", np.ascontiguousarray(weights[:, :, 1]))
        elif ".qkv." in name:
            for part, its in zip("qkv", np.split(weights, 3, axis=0), strict=True):
                known = names.get_name(name.replace("qkv", part), (".weight", ".bias"))
                writer.add_tensor(known, np.ascontiguousarray(its))
        else:
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), weights)
    finish(writer)


def tensors(model: Qwen2VLForConditionalGeneration) -> dict[str, np.ndarray]:
    """Return all weights under the names that gguf knows."""
    return {
        name.replace("model.language_model.", "model.").replace("model.visual.", "visual."): weights.detach()
        .float()
        .numpy()
        for name, weights in model.state_dict().items()
    }


def finish(writer: gguf.GGUFWriter) -> None:
    """Write everything out."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Read the command line and make the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--bias", type=float, default=0.5, help="weight of the frequencies in the logits")
    parser.add_argument(
        "--wild", action="store_true", help="runs of blanks, control characters, ill-formed UTF-8"
    )
    parser.add_argument("--think", action="store_true", help="a reasoning model")
    options = parser.parse_args()

    special = SPECIAL + (THOUGHTS if options.think else [])
    template = TEMPLATE.replace("@THINK@", THINK if options.think else "")
    template = template.replace("@PAST@", PAST if options.think else "")
    tokenizer, frequencies = make_tokenizer(special)
    size = math.ceil(tokenizer.get_vocab_size() / 64) * 64
    model = make_model(options, tokenizer, frequencies, configuration(tokenizer, size))
    save_folder(model, tokenizer, template, special, options.out / "hf")
    save_language(model, tokenizer, template, size, options.out / "tiny.gguf")
    save_eyes(model, options.out / "mmproj.gguf")


if __name__ == "__main__":
    main()
