"""What `sld count` must say: parameters and FLOPs of real model classes, built by the library that defines them.

Public configurations are built without weights (on torch's meta device) and their parameters counted; small models of
each family are run forward and backward under torch's counter of matrix products. The numbers go to
bench/results/counting.json, which tests/test_model_counting.py compares with; nothing is fetched.

    pip install transformers torch
    python bench/counting.py              # writes the numbers
    python bench/counting.py --variants   # compares sld with the classes on random sizes and switches, writes nothing

The sizes are those that the makers of the models published with them. Counts come from the classes, not from here, with
one exception: the classes of T5 tie the head whatever the configuration says, and untie it once they load weights that
have one (T5 1.1, mT5). Nothing is loaded here, so it is untied by hand where the configuration says so.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from random import Random
from typing import Any

OUT = Path(__file__).parent / "results" / "counting.json"

Keys = dict[str, Any]


def _llama_like(vocab: int, width: int, layers: int, heads: int, kv: int, hidden: int, **more: Any) -> Keys:
    return {
        "vocab_size": vocab,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": hidden,
        **more,
    }


def _bert_like(vocab: int, positions: int, kinds: int) -> Keys:
    sizes = _llama_like(vocab, 768, 12, 12, 12, 3072, max_position_embeddings=positions, type_vocab_size=kinds)
    del sizes["num_key_value_heads"]
    return sizes


# name of the public model: class, then its sizes
PUBLIC: dict[str, tuple[str, str, Keys]] = {
    "gpt2": (
        "gpt2", "GPT2LMHeadModel",
        {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12},
    ),
    "pythia-70m": (
        "gpt_neox", "GPTNeoXForCausalLM",
        {"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8,
         "intermediate_size": 2048, "max_position_embeddings": 2048, "tie_word_embeddings": False},
    ),
    "opt-125m": (
        "opt", "OPTForCausalLM",
        {"vocab_size": 50272, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "ffn_dim": 3072, "word_embed_proj_dim": 768, "max_position_embeddings": 2048},
    ),
    "opt-350m": (
        "opt", "OPTForCausalLM",
        {"vocab_size": 50272, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
         "ffn_dim": 4096, "word_embed_proj_dim": 512, "max_position_embeddings": 2048,
         "do_layer_norm_before": False},
    ),
    "llama-2-7b": ("llama", "LlamaForCausalLM", _llama_like(32000, 4096, 32, 32, 32, 11008, tie_word_embeddings=False)),
    "llama-3-8b": ("llama", "LlamaForCausalLM", _llama_like(128256, 4096, 32, 32, 8, 14336, tie_word_embeddings=False)),
    "llama-3.2-1b": (
        "llama", "LlamaForCausalLM",
        _llama_like(128256, 2048, 16, 32, 8, 8192, head_dim=64, tie_word_embeddings=True),
    ),
    "smollm2-135m": ("llama", "LlamaForCausalLM", _llama_like(49152, 576, 30, 9, 3, 1536, tie_word_embeddings=True)),
    "smollm3-3b": ("smollm3", "SmolLM3ForCausalLM", _llama_like(128256, 2048, 36, 16, 4, 11008)),
    "granite-3.3-2b": (
        "granite", "GraniteForCausalLM", _llama_like(49159, 2048, 40, 32, 8, 8192, tie_word_embeddings=True),
    ),
    "mistral-7b-v0.1": (
        "mistral", "MistralForCausalLM", _llama_like(32000, 4096, 32, 32, 8, 14336, sliding_window=4096),
    ),
    "mixtral-8x7b": (
        "mixtral", "MixtralForCausalLM",
        _llama_like(32000, 4096, 32, 32, 8, 14336, num_local_experts=8, num_experts_per_tok=2),
    ),
    "qwen2.5-0.5b": ("qwen2", "Qwen2ForCausalLM", _llama_like(151936, 896, 24, 14, 2, 4864, tie_word_embeddings=True)),
    "qwen2.5-7b": ("qwen2", "Qwen2ForCausalLM", _llama_like(152064, 3584, 28, 28, 4, 18944, tie_word_embeddings=False)),
    "qwen3-0.6b": (
        "qwen3", "Qwen3ForCausalLM",
        _llama_like(151936, 1024, 28, 16, 8, 3072, head_dim=128, tie_word_embeddings=True),
    ),
    "qwen1.5-moe-a2.7b": (
        "qwen2_moe", "Qwen2MoeForCausalLM",
        _llama_like(151936, 2048, 24, 16, 16, 5632, moe_intermediate_size=1408, shared_expert_intermediate_size=5632,
                    num_experts=60, num_experts_per_tok=4, tie_word_embeddings=False),
    ),
    "qwen3-30b-a3b": (
        "qwen3_moe", "Qwen3MoeForCausalLM",
        _llama_like(151936, 2048, 48, 32, 4, 6144, head_dim=128, moe_intermediate_size=768, num_experts=128,
                    num_experts_per_tok=8, tie_word_embeddings=False),
    ),
    "gemma-2b": ("gemma", "GemmaForCausalLM", _llama_like(256000, 2048, 18, 8, 1, 16384, head_dim=256)),
    "gemma-2-2b": (
        "gemma2", "Gemma2ForCausalLM", _llama_like(256000, 2304, 26, 8, 4, 9216, head_dim=256, sliding_window=4096),
    ),
    "gemma-3-1b": (
        "gemma3_text", "Gemma3ForCausalLM",
        _llama_like(262144, 1152, 26, 4, 1, 6912, head_dim=256, sliding_window=512, sliding_window_pattern=6),
    ),
    "olmo-1b": ("olmo", "OlmoForCausalLM", _llama_like(50304, 2048, 16, 16, 16, 8192, tie_word_embeddings=True)),
    "olmo-2-7b": ("olmo2", "Olmo2ForCausalLM", _llama_like(100352, 4096, 32, 32, 32, 11008, tie_word_embeddings=False)),
    "olmoe-1b-7b": (
        "olmoe", "OlmoeForCausalLM",
        _llama_like(50304, 2048, 16, 16, 16, 1024, num_experts=64, num_experts_per_tok=8, tie_word_embeddings=False),
    ),
    "deepseek-v2-lite": (
        "deepseek_v2", "DeepseekV2ForCausalLM",
        _llama_like(102400, 2048, 27, 16, 16, 10944, moe_intermediate_size=1408, n_routed_experts=64,
                    n_shared_experts=2, num_experts_per_tok=6, first_k_dense_replace=1, kv_lora_rank=512,
                    q_lora_rank=None, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128,
                    tie_word_embeddings=False),
    ),
    "deepseek-v3": (
        "deepseek_v3", "DeepseekV3ForCausalLM",
        _llama_like(129280, 7168, 61, 128, 128, 18432, moe_intermediate_size=2048, n_routed_experts=256,
                    n_shared_experts=1, num_experts_per_tok=8, first_k_dense_replace=3, kv_lora_rank=512,
                    q_lora_rank=1536, qk_rope_head_dim=64, qk_nope_head_dim=128, v_head_dim=128,
                    tie_word_embeddings=False),
    ),
    "mamba-130m": (
        "mamba", "MambaForCausalLM",
        {"vocab_size": 50280, "hidden_size": 768, "num_hidden_layers": 24, "state_size": 16, "conv_kernel": 4,
         "expand": 2, "use_bias": False, "use_conv_bias": True},
    ),
    "phi-2": (
        "phi", "PhiForCausalLM", _llama_like(51200, 2560, 32, 32, 32, 10240, tie_word_embeddings=False),
    ),
    "phi-3-mini": (
        "phi3", "Phi3ForCausalLM",
        _llama_like(32064, 3072, 32, 32, 32, 8192, sliding_window=2047, pad_token_id=32000, tie_word_embeddings=False),
    ),
    "falcon-7b": (
        "falcon", "FalconForCausalLM",
        {"vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71,
         "multi_query": True, "parallel_attn": True, "bias": False, "new_decoder_architecture": False},
    ),
    "falcon-40b": (
        "falcon", "FalconForCausalLM",
        {"vocab_size": 65024, "hidden_size": 8192, "num_hidden_layers": 60, "num_attention_heads": 128,
         "num_kv_heads": 8, "bias": False, "new_decoder_architecture": True},
    ),
    "falcon-rw-1b": (
        "falcon", "FalconForCausalLM",
        {"vocab_size": 50304, "hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32,
         "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True,
         "new_decoder_architecture": False},
    ),
    "stablelm-2-1.6b": (
        "stablelm", "StableLmForCausalLM",
        _llama_like(100352, 2048, 24, 32, 32, 5632, use_qkv_bias=True, tie_word_embeddings=False),
    ),
    "stablelm-2-12b": (
        "stablelm", "StableLmForCausalLM",
        _llama_like(100352, 5120, 40, 32, 8, 13824, use_qkv_bias=False, qk_layernorm=True,
                    use_parallel_residual=True, tie_word_embeddings=False),
    ),
    "starcoder2-3b": (
        "starcoder2", "Starcoder2ForCausalLM",
        _llama_like(49152, 3072, 30, 24, 2, 12288, use_bias=True, sliding_window=4096, tie_word_embeddings=True),
    ),
    "vit-base-patch16-224": (
        "vit", "ViTForImageClassification",
        {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
         "image_size": 224, "patch_size": 16, "num_channels": 3, "num_labels": 1000},
    ),
    "vit-large-patch16-224-in21k": (
        "vit", "ViTModel",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
         "image_size": 224, "patch_size": 16, "num_channels": 3},
    ),
    "t5-small": (
        "t5", "T5ForConditionalGeneration",
        {"vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
         "relative_attention_num_buckets": 32, "feed_forward_proj": "relu"},
    ),
    "t5-v1_1-base": (
        "t5", "T5ForConditionalGeneration",
        {"vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12,
         "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5-small": (
        "mt5", "MT5ForConditionalGeneration",
        {"vocab_size": 250112, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_heads": 6,
         "relative_attention_num_buckets": 32, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bert-base-uncased": ("bert", "BertForMaskedLM", _bert_like(30522, 512, 2)),
    "bert-base-uncased, bare": ("bert", "BertModel", _bert_like(30522, 512, 2)),
    "distilbert-base-uncased": (
        "distilbert", "DistilBertForMaskedLM",
        {"vocab_size": 30522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
         "max_position_embeddings": 512},
    ),
    "bloom-560m": (
        "bloom", "BloomForCausalLM", {"vocab_size": 250880, "hidden_size": 1024, "n_layer": 24, "n_head": 16},
    ),
    "gpt-j-6b": (
        "gptj", "GPTJForCausalLM",
        {"vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16, "rotary_dim": 64,
         "tie_word_embeddings": False},
    ),
    "gpt-neo-125m": (
        "gpt_neo", "GPTNeoForCausalLM",
        {"vocab_size": 50257, "hidden_size": 768, "num_layers": 12, "num_heads": 12, "max_position_embeddings": 2048,
         "attention_types": [[["global", "local"], 6]], "window_size": 256},
    ),
    "starcoder": (
        "gpt_bigcode", "GPTBigCodeForCausalLM",
        {"vocab_size": 49152, "n_positions": 8192, "n_embd": 6144, "n_layer": 40, "n_head": 48, "n_inner": 24576,
         "multi_query": True},
    ),
    "olmo-3-7b": (
        "olmo3", "Olmo3ForCausalLM", _llama_like(100278, 4096, 32, 32, 32, 11008, tie_word_embeddings=False),
    ),
    "command-r-v01": ("cohere", "CohereForCausalLM", _llama_like(256000, 8192, 40, 64, 64, 22528)),
    "gpt-oss-20b": (
        "gpt_oss", "GptOssForCausalLM",
        _llama_like(201088, 2880, 24, 64, 8, 2880, head_dim=64, num_local_experts=32, num_experts_per_tok=4,
                    sliding_window=128, attention_bias=True, tie_word_embeddings=False),
    ),
    "glm-4.5-air": (
        "glm4_moe", "Glm4MoeForCausalLM",
        _llama_like(151552, 4096, 46, 96, 8, 10944, head_dim=128, moe_intermediate_size=1408, n_routed_experts=128,
                    n_shared_experts=1, num_experts_per_tok=8, first_k_dense_replace=1, attention_bias=True,
                    use_qk_norm=False, tie_word_embeddings=False),
    ),
    "roberta-base": ("roberta", "RobertaForMaskedLM", _bert_like(50265, 514, 1)),
}  # fmt: skip

_TOKENS = 256  # of the sequences that are run; two of them
_SMALL = {"vocab_size": 1000, "max_position_embeddings": 512}
_D = _llama_like(1000, 128, 3, 8, 4, 352, max_position_embeddings=512, pad_token_id=0)

# small models that are run
SMALL: dict[str, tuple[str, str, Keys]] = {
    "gpt2": (
        "gpt2", "GPT2LMHeadModel",
        {"vocab_size": 1000, "n_positions": 512, "n_embd": 128, "n_layer": 3, "n_head": 4},
    ),
    "gpt_neox": (
        "gpt_neox", "GPTNeoXForCausalLM",
        {**_SMALL, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512},
    ),
    "opt": (
        "opt", "OPTForCausalLM",
        {**_SMALL, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 512,
         "word_embed_proj_dim": 64, "pad_token_id": 0},
    ),
    "llama": ("llama", "LlamaForCausalLM", _D),
    "mistral": ("mistral", "MistralForCausalLM", {**_D, "sliding_window": None}),
    "mixtral": (
        "mixtral", "MixtralForCausalLM",
        {**_D, "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", _D),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", {**_D, "head_dim": 32}),
    "qwen2_moe": (
        "qwen2_moe", "Qwen2MoeForCausalLM",
        {**_D, "moe_intermediate_size": 96, "shared_expert_intermediate_size": 192, "num_experts": 16,
         "num_experts_per_tok": 4},
    ),
    "qwen3_moe": (
        "qwen3_moe", "Qwen3MoeForCausalLM",
        {**_D, "head_dim": 32, "moe_intermediate_size": 96, "num_experts": 16, "num_experts_per_tok": 4,
         "mlp_only_layers": [1]},
    ),
    "gemma": ("gemma", "GemmaForCausalLM", {**_D, "head_dim": 32}),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", {**_D, "head_dim": 32, "sliding_window": 512}),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM", {**_D, "head_dim": 32, "sliding_window": 512}),
    "olmoe": ("olmoe", "OlmoeForCausalLM", {**_D, "num_experts": 16, "num_experts_per_tok": 4}),
    "deepseek_v3": (
        "deepseek_v3", "DeepseekV3ForCausalLM",
        {**_D, "num_key_value_heads": 8, "moe_intermediate_size": 96, "n_routed_experts": 16, "n_shared_experts": 2,
         "num_experts_per_tok": 4, "first_k_dense_replace": 1, "kv_lora_rank": 32, "q_lora_rank": 48,
         "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16, "n_group": 4, "topk_group": 2},
    ),
    "mamba": (
        "mamba", "MambaForCausalLM",
        {"vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 3, "state_size": 16},
    ),
    "bloom": ("bloom", "BloomForCausalLM", {"vocab_size": 1000, "hidden_size": 128, "n_layer": 3, "n_head": 4}),
    "gpt_oss": (
        "gpt_oss", "GptOssForCausalLM",
        {**_D, "head_dim": 32, "num_local_experts": 16, "num_experts_per_tok": 4, "sliding_window": 512},
    ),
    "glm4_moe": (
        "glm4_moe", "Glm4MoeForCausalLM",
        {**_D, "head_dim": 32, "moe_intermediate_size": 96, "n_routed_experts": 16, "num_experts_per_tok": 4,
         "n_group": 1, "topk_group": 1},
    ),
    "phi": ("phi", "PhiForCausalLM", {**_D, "num_key_value_heads": 8}),
    "falcon": (
        "falcon", "FalconForCausalLM",
        {"vocab_size": 1000, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "bias": False,
         "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False, "alibi": False},
    ),
    "stablelm": ("stablelm", "StableLmForCausalLM", _D),
    "vit": (
        "vit", "ViTForImageClassification",
        {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512,
         "image_size": 128, "patch_size": 8, "num_channels": 3, "num_labels": 100},
    ),
    "t5": (
        "t5", "T5ForConditionalGeneration",
        {"vocab_size": 1000, "d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 3, "num_heads": 4,
         "num_decoder_layers": 2, "decoder_start_token_id": 0},
    ),
    "bert": (
        "bert", "BertForMaskedLM",
        {**_SMALL, "hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512},
    ),
}  # fmt: skip


def configuration(kind: str, architecture: str, sizes: Keys) -> Any:
    """Return the configuration of the library."""
    from transformers import AutoConfig

    return AutoConfig.for_model(kind, **{**sizes, "architectures": [architecture]})


def parameters(kind: str, architecture: str, sizes: Keys) -> Keys:
    """Build the class without weights and count what it holds."""
    import torch
    import transformers

    config = configuration(kind, architecture, sizes)
    with torch.device("meta"):
        model = getattr(transformers, architecture)(config)
    model.tie_weights()
    if kind in ("t5", "mt5") and sizes.get("tie_word_embeddings") is False:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.shared.weight))
    named = {name: p for name, p in model.named_parameters()}  # a tied weight comes once
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}

    def numel(wanted: Any) -> int:
        return sum(p.numel() for name, p in named.items() if wanted(name, p))

    return {
        "total": numel(lambda *_: True),
        "without_lookup_tables": model.num_parameters(exclude_embeddings=True),
        "tables": numel(lambda _, p: id(p) in tables),
        "head": 0 if head is None else head.weight.numel(),
        "head_tied": head is not None and id(head.weight) in tables,
        "biases": numel(lambda name, _: name.endswith("bias")),
        "experts": numel(lambda name, _: ".experts." in name),
    }


def flops(kind: str, architecture: str, sizes: Keys) -> Keys:
    """Run a small model under the counter of matrix products; return operations per token."""
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    config = configuration(kind, architecture, sizes)
    config._attn_implementation = "eager"  # fused kernels count the backward pass otherwise
    config._experts_implementation = "eager"
    model = getattr(transformers, architecture)(config).train()
    if kind == "vit":
        given = {"pixel_values": torch.rand(2, sizes["num_channels"], sizes["image_size"], sizes["image_size"])}
        tokens = 2 * ((sizes["image_size"] // sizes["patch_size"]) ** 2 + 1)
    else:
        given = {"input_ids": torch.randint(1, sizes["vocab_size"], (2, _TOKENS))}
        tokens = 2 * _TOKENS
        if kind == "t5":
            given["decoder_input_ids"] = torch.randint(1, sizes["vocab_size"], (2, _TOKENS))
    with FlopCounterMode(display=False) as forward:
        out = model(**given)
    with FlopCounterMode(display=False) as backward:
        out.logits.float().pow(2).mean().backward()
    n = forward.get_total_flops()
    return {"sequence": tokens // 2, "forward": n / tokens, "backward": backward.get_total_flops() / tokens}


_NULL = "null"  # a key that is there and says that there is none
# switches and sizes that are put on small models at random; None leaves a key out, so that the default counts
_SWITCHES: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {"attention_bias": (None, True), "mlp_bias": (None, True)},
    "granite": {"attention_bias": (None, True), "mlp_bias": (None, True)},
    "smollm3": {"attention_bias": (None, True), "mlp_bias": (None, True)},
    "mistral": {},
    "phi3": {},
    "mixtral": {"num_local_experts": (None, 4), "num_experts_per_tok": (None, 1, 2)},
    "qwen2": {},
    "qwen3": {"attention_bias": (None, True)},
    "qwen2_moe": {"qkv_bias": (None, False), "num_experts": (None, 6), "decoder_sparse_step": (None, 1, 2),
                  "mlp_only_layers": (None, [0], [1, 2]), "moe_intermediate_size": (24,),
                  "shared_expert_intermediate_size": (40,)},
    "qwen3_moe": {"attention_bias": (None, True), "num_experts": (None, 16), "decoder_sparse_step": (None, 2),
                  "mlp_only_layers": (None, [0], [1, 2]), "moe_intermediate_size": (24,)},
    "gemma": {"attention_bias": (None, True)},
    "gemma2": {"attention_bias": (None, True)},
    "gemma3_text": {"attention_bias": (None, True)},
    "olmo": {"attention_bias": (None, True)},
    "olmo2": {"attention_bias": (None, True)},
    "olmoe": {"attention_bias": (None, True), "num_experts": (None, 16), "num_experts_per_tok": (2,)},
    "deepseek_v2": {"attention_bias": (None, True), "q_lora_rank": (None, _NULL, 20), "kv_lora_rank": (12,),
                    "qk_rope_head_dim": (8,), "qk_nope_head_dim": (8, 16), "v_head_dim": (8, 24),
                    "n_routed_experts": (6,), "n_shared_experts": (1, 2), "num_experts_per_tok": (2,),
                    "moe_intermediate_size": (24,), "first_k_dense_replace": (None, 1, 2)},
    "deepseek_v3": {"attention_bias": (None, True), "q_lora_rank": (20,), "kv_lora_rank": (12,),
                    "qk_rope_head_dim": (8,), "qk_nope_head_dim": (8, 16), "v_head_dim": (8, 24),
                    "n_routed_experts": (8,), "n_shared_experts": (1, 2), "num_experts_per_tok": (2,),
                    "moe_intermediate_size": (24,), "first_k_dense_replace": (None, 1, 2)},
    "phi": {"qk_layernorm": (None, True)},
    "stablelm": {"use_qkv_bias": (None, True), "qk_layernorm": (None, True), "use_parallel_residual": (None, True)},
    "starcoder2": {"use_bias": (None, False)},
    "gpt_neox": {"attention_bias": (None, False), "use_parallel_residual": (None, False)},
    "gpt2": {"n_inner": (None, 72)},
    "opt": {"word_embed_proj_dim": (None, 16), "do_layer_norm_before": (None, False), "enable_bias": (None, False),
            "layer_norm_elementwise_affine": (None, False), "_remove_final_layer_norm": (None, True)},
    "falcon": {"bias": (None, True), "multi_query": (None, False), "parallel_attn": (None, False),
               "new_decoder_architecture": (None, True), "num_kv_heads": (None, 2), "ffn_hidden_size": (None, 56),
               "num_ln_in_parallel_attn": (None, 1, 2)},
    "mamba": {"state_size": (None, 8), "expand": (None, 3), "use_bias": (None, True), "use_conv_bias": (None, False),
              "time_step_rank": (None, 5), "conv_kernel": (None, 3)},
    "vit": {"qkv_bias": (None, False), "num_labels": (None, 7), "image_size": (None, 64), "num_channels": (None, 1)},
    "t5": {"feed_forward_proj": (None, "relu", "gated-gelu"), "num_decoder_layers": (None, 2)},
    "mt5": {"feed_forward_proj": (None, "gated-gelu"), "num_decoder_layers": (None, 2)},
    "bert": {"type_vocab_size": (None, 3)},
    "distilbert": {},
    "bloom": {},
    "gptj": {"n_inner": (None, 72)},
    "gpt_neo": {"intermediate_size": (None, 72)},
    "gpt_bigcode": {"multi_query": (None, False), "n_inner": (None, 72)},
    "olmo3": {"attention_bias": (None, True)},
    "cohere": {"attention_bias": (None, True), "use_qk_norm": (None, True)},
    "gpt_oss": {"attention_bias": (None, False), "num_local_experts": (None, 8)},
    "glm4_moe": {"attention_bias": (None, True), "use_qk_norm": (None, True), "n_routed_experts": (16,),
                 "n_shared_experts": (None, 2), "first_k_dense_replace": (None, 0, 2), "moe_intermediate_size": (24,)},
    "roberta": {"type_vocab_size": (None, 1)},
}  # fmt: skip
_CLASSES = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Model"),
    "vit": ("ViTForImageClassification", "ViTModel"),
    "t5": ("T5ForConditionalGeneration", "T5EncoderModel", "T5Model"),
    "mt5": ("MT5ForConditionalGeneration", "MT5EncoderModel"),
    "bert": ("BertForMaskedLM", "BertModel", "BertForPreTraining", "BertForSequenceClassification"),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertModel", "DistilBertForSequenceClassification"),
    "roberta": ("RobertaForMaskedLM", "RobertaModel", "RobertaForSequenceClassification"),
}


def variant(kind: str, random: Random) -> tuple[str, Keys]:
    """Return a class of a family and small sizes with random switches."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    width, heads = random.choice((32, 48)), random.choice((2, 4))
    sizes: Keys
    common = {"vocab_size": random.choice((50, 96)), "num_hidden_layers": random.choice((1, 3))}
    if kind in ("gpt2", "gptj", "gpt_bigcode"):
        sizes = {"vocab_size": 50, "n_embd": width, "n_layer": 2, "n_head": heads, "n_positions": 40}
    elif kind in ("t5", "mt5"):
        sizes = {"vocab_size": 50, "d_model": width, "d_kv": random.choice((8, 10)), "d_ff": 64, "num_layers": 3,
                 "num_heads": heads}  # fmt: skip
    elif kind == "mamba":
        sizes = {**common, "hidden_size": width}
    elif kind == "bloom":
        sizes = {"vocab_size": 50, "hidden_size": width, "n_layer": 2, "n_head": heads}
    elif kind == "distilbert":
        sizes = {"vocab_size": 50, "dim": width, "n_layers": 2, "n_heads": heads, "hidden_dim": 72}
    elif kind == "gpt_neo":
        sizes = {"vocab_size": 50, "hidden_size": width, "num_layers": 4, "num_heads": heads,
                 "max_position_embeddings": 40, "attention_types": [[["global", "local"], 2]]}  # fmt: skip
    else:
        sizes = {**common, "hidden_size": width, "num_attention_heads": heads, "pad_token_id": 0}
        sizes |= {"ffn_dim": 72} if kind == "opt" else {} if kind == "falcon" else {"intermediate_size": 72}
        if kind in ("bert", "roberta", "opt"):
            sizes["max_position_embeddings"] = 40
        elif kind not in ("vit", "falcon", "gpt_neox"):
            sizes["num_key_value_heads"] = random.choice((heads, heads // 2))
            if "head_dim" in CONFIG_MAPPING[kind]().to_dict() and not kind.startswith(("deepseek", "phi", "stable")):
                sizes |= random.choice(({}, {"head_dim": 24}))
        if kind.startswith("deepseek"):
            sizes |= {"num_key_value_heads": heads, "n_group": 2, "topk_group": 1}
    chosen: Keys = {key: random.choice(values) for key, values in _SWITCHES[kind].items()}
    sizes |= {key: None if value == _NULL else value for key, value in chosen.items() if value is not None}
    if kind not in ("vit", "t5", "mt5", "bert", "roberta", "distilbert"):
        tied = random.choice((None, True, False))
        sizes |= {} if tied is None else {"tie_word_embeddings": tied}
    if kind in _CLASSES:
        return random.choice(_CLASSES[kind]), sizes
    mapping = AutoModelForCausalLM._model_mapping
    return mapping[CONFIG_MAPPING[kind]].__name__, sizes


def compare(n: int = 40) -> None:
    """Print how many of `n` random models of each family `sld.count` gets right, and which not."""
    import sld

    equal = tried = 0
    for kind in _SWITCHES:
        random = Random(kind)
        for _ in range(n):
            architecture, sizes = variant(kind, random)
            try:
                truth = parameters(kind, architecture, sizes)
            except (ValueError, RuntimeError) as error:  # a mixture of switches that the class refuses
                print(f"{kind}: no model, {str(error).splitlines()[0][:100]}")
                continue
            tried += 1
            said = sld.count({"model_type": kind, "architectures": [architecture], **sizes})
            got = {"total": said.total, "without_lookup_tables": said.parameters("trainer")}
            wanted = {key: truth[key] for key in got}
            equal += got == wanted
            if got != wanted:
                print(f"{kind} {architecture} {sizes}: sld {got}, the class {wanted}")
    print(f"{equal} of {tried} random models of {len(_SWITCHES)} families counted to the last parameter")


def main() -> None:
    """Write what the classes say."""
    import torch
    import transformers

    models = {}
    for name, (kind, architecture, sizes) in PUBLIC.items():
        config = {"model_type": kind, "architectures": [architecture], **sizes}
        models[name] = {"config": config, **parameters(kind, architecture, sizes)}
        print(f"{name}: {models[name]['total']:,}")
    runs = {}
    for name, (kind, architecture, sizes) in SMALL.items():
        config = {"model_type": kind, "architectures": [architecture], **sizes}
        runs[name] = {"config": config, **flops(kind, architecture, sizes)}
        print(f"{name}: {runs[name]['forward']:,.1f} FLOPs a token forward")
    versions = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    OUT.write_text(json.dumps({"versions": versions, "models": models, "flops": runs}, indent=1) + "\n")


if __name__ == "__main__":
    compare() if "--variants" in sys.argv else main()
