"""Which fields of a body reach an inference server.

Everything a client sends is passed on, known to us or not, but for what is denied here: fields that reach into the
server, that make it work or answer without bound, or that say the length of an answer in a word we do not count by.
llama.cpp is the exception: it reads some hundred fields of its own and does not check them, so it is sent those of the
list below and no others; what it does not know it would ignore anyway.
"""

DENIED_FIELDS = frozenset(
    {
        # Read files or addresses, load weights or code, change how others are served.
        "bootstrap_host",
        "bootstrap_port",
        "bootstrap_room",
        "cache_salt",
        "chat_template",
        "container",
        "custom_logit_processor",
        "custom_labels",
        "custom_params",
        "data_parallel_rank",
        "disagg_prefill_dp_rank",
        "extra_key",
        "id_slot",
        "images_config",
        "keep_alive",
        "kv_transfer_params",
        "logits_processors",
        "lora",
        "lora_path",
        "mcp_servers",
        "media_io_kwargs",
        "mm_processor_kwargs",
        "ngram_corpus_id",
        "options",
        "priority",
        "prompt_embeds",
        "request_id",
        "rid",
        "routed_dp_rank",
        "session_id",
        "session_params",
        "slot_id",
        "vllm_xargs",
        # Grammars: parsers descend into them without a bound, and one of deep nesting ends llama.cpp for everybody.
        "ebnf",
        "grammar",
        "grammar_lazy",
        "grammar_triggers",
        "guided_grammar",
        "preserved_tokens",
        "structural_tag",
        # SGLang tries it on the text so far with each token of everybody's, and it may take ages.
        "stop_regex",
        # More answers than `n` says, which the server does not count.
        "best_of",
        "n_cmpl",
        "use_beam_search",
        # Answers of megabytes for a few tokens, or without the count in them.
        "logprob_start_len",
        "n_probs",
        "prompt_logprobs",
        "response_fields",
        "return_hidden_states",
        "return_routed_experts",
        "token_ids_logprob",
        "top_logprobs_num",
        # Other names of the output limit: some go before max_tokens, unseen by limits and budgets.
        "max_gen_len",
        "max_length",
        "max_new_tokens",
        "n_predict",
        "num_predict",
    }
)
# The output limits of other APIs: llama.cpp makes chats of completions and responses, and heeds the first of these.
OUTPUT_LIMITS = frozenset({"max_completion_tokens", "max_tokens", "max_output_tokens"})
# What would be kept at a server under an id that anybody can name, or is to be fetched by it; and what vLLM takes in
# place of what was kept, and nobody looked at.
STORED_STATE = frozenset(
    {"background", "conversation", "previous_input_messages", "previous_response", "previous_response_id", "prompt"}
)
# Serialized tensors: inference servers unpack them with code that has run what was in them. And vLLM's name for a
# picture: it gives whoever says it the picture of whoever said it first.
DENIED_PARTS = frozenset({"image_embeds", "audio_embeds", "video_embeds", "prompt_embeds", "uuid"})
# Arguments of the tokenizer's own method: a template given here runs in the server as one given openly would.
DENIED_TEMPLATE_ARGUMENTS = frozenset(
    {"chat_template", "conversation", "max_length", "padding", "return_tensors", "tokenize", "tokenizer_kwargs"}
)
LLAMA_CPP_FIELDS = frozenset(
    {
        "add_generation_prompt",
        "cache_prompt",
        "chat_template_kwargs",
        "dimensions",
        "documents",
        "dry_allowed_length",
        "dry_base",
        "dry_multiplier",
        "dry_penalty_last_n",
        "dry_sequence_breakers",
        "dynatemp_exponent",
        "dynatemp_range",
        "echo",
        "encoding_format",
        "frequency_penalty",
        "ignore_eos",
        "input",
        "instructions",
        "json_schema",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "messages",
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt",
        "query",
        "reasoning",
        "reasoning_effort",
        "reasoning_format",
        "repeat_last_n",
        "repeat_penalty",
        "response_format",
        "samplers",
        "seed",
        "stop",
        "stop_sequences",
        "stream",
        "stream_options",
        "suffix",
        "system",
        "temperature",
        "text",
        "thinking",
        "timings_per_token",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_n",
        "top_n_sigma",
        "top_p",
        "typical_p",
        "user",
        "xtc_probability",
        "xtc_threshold",
    }
)
