"""What the `config.json` of published models says, as it was written: by many versions of transformers."""

from __future__ import annotations

from typing import Any

from transformers import (
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PLBartForConditionalGeneration,
    Qwen2ForCausalLM,
    RobertaModel,
    Starcoder2ForCausalLM,
    T5ForConditionalGeneration,
)

_ROBERTA: dict[str, Any] = {
    "architectures": ["RobertaModel"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
    "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768,
    "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514, "model_type": "roberta", "num_attention_heads": 12,
    "num_hidden_layers": 12, "pad_token_id": 1, "type_vocab_size": 1, "vocab_size": 50265,
}  # fmt: skip
_T5: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"], "bos_token_id": 1, "d_ff": 3072, "d_kv": 64,
    "d_model": 768, "decoder_start_token_id": 0, "dropout_rate": 0.1, "eos_token_id": 2,
    "feed_forward_proj": "relu", "id2label": {"0": "LABEL_0"}, "initializer_factor": 1.0,
    "is_encoder_decoder": True, "label2id": {"LABEL_0": 0}, "layer_norm_epsilon": 1e-06, "model_type": "t5",
    "n_positions": 512, "num_decoder_layers": 12, "num_heads": 12, "num_layers": 12,
    "output_past": True, "pad_token_id": 0, "relative_attention_num_buckets": 32,
    "task_specific_params": {
        "summarization": {"early_stopping": True, "length_penalty": 2.0, "max_length": 200, "num_beams": 4},
    },
    "use_cache": True, "vocab_size": 32100,
}  # fmt: skip
_GPT2: dict[str, Any] = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
    "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12,
    "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": None,
    "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
    "summary_use_proj": True, "vocab_size": 50257,
}  # fmt: skip
_OLD: dict[str, Any] = {  # every config said so, once
    "finetuning_task": None, "is_decoder": False, "num_labels": 2, "output_attentions": False,
    "output_hidden_states": False, "output_past": True, "pruned_heads": {}, "torchscript": False,
    "use_bfloat16": False,
}  # fmt: skip
_PLBART: dict[str, Any] = {
    "activation_dropout": 0.0, "activation_function": "gelu", "architectures": ["PLBartModel"],
    "attention_dropout": 0.1, "bos_token_id": 0, "classifier_dropout": 0.0, "d_model": 768,
    "decoder_attention_heads": 12, "decoder_ffn_dim": 3072, "decoder_layerdrop": 0.0, "decoder_layers": 6,
    "dropout": 0.1, "encoder_attention_heads": 12, "encoder_ffn_dim": 3072, "encoder_layerdrop": 0.0,
    "encoder_layers": 6, "eos_token_id": 2, "forced_eos_token_id": 2, "init_std": 0.02,
    "is_encoder_decoder": True, "max_position_embeddings": 1024, "model_type": "plbart",
    "num_hidden_layers": 6, "pad_token_id": 1, "scale_embedding": True, "use_cache": True,
    "vocab_size": 50005,
}  # fmt: skip
_QWEN: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896, "initializer_range": 0.02,
    "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24,
    "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": True,
    "torch_dtype": "bfloat16", "use_cache": True, "use_mrope": False, "use_sliding_window": False,
    "vocab_size": 151936,
}  # fmt: skip
_STARCODER: dict[str, Any] = {
    "architectures": ["Starcoder2ForCausalLM"], "attention_dropout": 0.1, "attention_softmax_in_fp32": True,
    "bos_token_id": 0, "embedding_dropout": 0.1, "eos_token_id": 0, "hidden_act": "gelu_pytorch_tanh",
    "hidden_size": 3072, "initializer_range": 0.018042, "intermediate_size": 12288,
    "layer_norm_epsilon": 1e-05, "max_position_embeddings": 16384, "mlp_type": "default",
    "model_type": "starcoder2", "norm_epsilon": 1e-05, "norm_type": "layer_norm",
    "num_attention_heads": 24, "num_hidden_layers": 30, "num_key_value_heads": 2, "residual_dropout": 0.1,
    "rope_theta": 999999.4420358813, "scale_attention_softmax_in_fp32": True, "scale_attn_weights": True,
    "sliding_window": 4096, "use_bias": True, "use_cache": True, "vocab_size": 49152,
}  # fmt: skip
_DEEPSEEK: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "bos_token_id": 32013, "eos_token_id": 32014,
    "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5504,
    "max_position_embeddings": 16384, "model_type": "llama", "num_attention_heads": 16,
    "num_hidden_layers": 24, "num_key_value_heads": 16, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
    "rope_scaling": {"factor": 4.0, "type": "linear"}, "rope_theta": 100000, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 32256,
}  # fmt: skip

PUBLISHED: dict[str, tuple[Any, dict[str, Any]]] = {
    "codebert": (RobertaModel, {**_ROBERTA, "output_past": True}),
    "graphcodebert": (RobertaModel, {**_ROBERTA, "gradient_checkpointing": False}),
    "unixcoder": (
        RobertaModel,
        {**_ROBERTA, "max_position_embeddings": 1026, "type_vocab_size": 10, "vocab_size": 51416,
         "position_embedding_type": "absolute", "use_cache": True},
    ),
    "roberta, old": (RobertaModel, {**_ROBERTA, **_OLD}),
    "codet5": (T5ForConditionalGeneration, _T5),
    "codet5p": (
        T5ForConditionalGeneration,
        {**_T5, "architectures": ["T5ForConditionalGeneration"], "d_ff": 3072, "is_gated_act": False,
         "dense_act_fn": "relu", "relative_attention_max_distance": 128, "torch_dtype": "float16"},
    ),
    "plbart": (PLBartForConditionalGeneration, _PLBART),
    "codegpt": (GPT2LMHeadModel, {**_GPT2, **_OLD, "bos_token_id": 0, "vocab_size": 50001}),
    "gpt2, old": (GPT2LMHeadModel, {**_GPT2, **_OLD}),
    "qwen2.5-coder": (Qwen2ForCausalLM, _QWEN),
    "starcoder2": (Starcoder2ForCausalLM, _STARCODER),
    "deepseek-coder": (LlamaForCausalLM, _DEEPSEEK),
}  # fmt: skip
"""By name: transformers' class, and what the file says."""
