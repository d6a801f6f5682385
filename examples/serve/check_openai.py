#!/usr/bin/env python3
"""Drives the server with OpenAI's Python package, as an application would.

usage: check_openai.py SERVER     (SERVER is the server's binary; needs `pip install openai`)
"""
import sys
import tempfile
import threading
import time

import openai
from openai import OpenAI

from server import Server, longer_model

binary, = sys.argv[1:]
failures = 0
ENDLESS = {"logit_bias": {"0": -100}, "temperature": 0}  # token 0 ends texts
SORT = "sort 52938174="
USER = [{"role": "user", "content": SORT}]


def check(what, ok):
    global failures
    failures += not ok
    print(f"{'ok  ' if ok else 'FAIL'} {what}", flush=True)


def raises(what, kind, call, status, param=None, code=None, text=""):
    try:
        call()
    except openai.APIError as error:
        found = (type(error), getattr(error, "status_code", None), error.param, error.code)
        ok = found[:3] == (kind, status, param) and code in (None, error.code) and text in str(error)
        check(f"{what}: {kind.__name__}" + ("" if ok else f", found {found}: {error}"), ok)
    else:
        check(f"{what}: no error", False)


def wait_for(server, name, value):
    started = time.time()
    while server.metrics()[name] != value:
        if time.time() - started > 30:
            return False
        time.sleep(0.01)
    return True


with Server(binary, "--controller", "uniform:10", "--control-from", "last-prompt-token", "--max-tokens", "24") as server:
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    check("models", model == "dynlayer-tiny" and client.models.retrieve(model).object == "model")

    chat = client.chat.completions.create(model=model, messages=USER, temperature=0, extra_body={"controller": "full"})
    choice = chat.choices[0]
    check("chat", (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "12345789", "stop"))
    check("usage", (chat.usage.prompt_tokens, chat.usage.completion_tokens, chat.usage.total_tokens) == (10, 9, 19))
    check("layers per token", (chat.usage.layers_per_token, chat.usage.layers) == (12, 12))
    chat = client.chat.completions.create(model=model, messages=USER, temperature=0)
    check("the default controller", chat.usage.layers_per_token == 10)
    again = [*USER, {**choice.message.model_dump(), "content": choice.message.content}, *USER]
    chat = client.chat.completions.create(model=model, messages=again, temperature=0, extra_body={"controller": "full"})
    check("a chat goes on with an earlier answer", chat.choices[0].message.content == "12345789")

    stream = client.chat.completions.create(model=model, messages=USER, temperature=0, stream=True, seed=1, logprobs=True,
                                            top_logprobs=3, stream_options={"include_usage": True}, user="someone",
                                            extra_body={"controller": "full"})
    chunks = list(stream)
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    check("a streamed chat", "".join(part.delta.content or "" for part in deltas) == "12345789")
    check("its role and its end", deltas[0].delta.role == "assistant" and deltas[-1].finish_reason == "stop")
    check("its usage", chunks[-1].usage.total_tokens == 19 and all(chunk.usage is None for chunk in chunks[:-1]))
    logged = [token for part in deltas if part.logprobs for token in part.logprobs.content]
    check("its log-probabilities", "".join(token.token for token in logged) == "12345789"
          and all(len(token.top_logprobs) == 3 and token.top_logprobs[0].logprob == token.logprob <= 0 for token in logged)
          and bytes(logged[0].bytes) == b"1")

    text = client.completions.create(model=model, prompt=[SORT, "copy DBACJFIA="], temperature=0, n=2, logprobs=2,
                                     extra_body={"controller": "full"})
    check("completions of two prompts", [c.text for c in text.choices] == ["12345789"] * 2 + ["DBACJFIA"] * 2
          and [c.index for c in text.choices] == [0, 1, 2, 3])
    logged = text.choices[0].logprobs
    check("their log-probabilities", "".join(logged.tokens) == "12345789" and logged.text_offset == list(range(8))
          and len(logged.token_logprobs) == 8 and all(len(top) == 2 for top in logged.top_logprobs))
    ids = client.completions.create(model=model, prompt=[2, 13, 10, 28], temperature=0, max_tokens=1)
    check("token ids as a prompt", ids.usage.prompt_tokens == 4 and ids.choices[0].finish_reason == "length")
    parts = client.completions.create(model=model, prompt=SORT, temperature=0, stream=True, stop=["45"],
                                      extra_body={"controller": "full"})
    check("a streamed completion with a stop", "".join(part.choices[0].text for part in parts) == "123")

    def sampled(seed):
        return client.chat.completions.create(model=model, messages=USER, temperature=2, seed=seed, **{
            key: value for key, value in ENDLESS.items() if key != "temperature"}).choices[0].message.content
    check("equal seeds, equal texts", sampled(5) == sampled(5) != sampled(6))

    def chat_with(**fields):
        return lambda: client.chat.completions.create(**{"model": model, "messages": USER} | fields)
    bad, missing = openai.BadRequestError, openai.NotFoundError
    raises("a wrong model", missing, chat_with(model="gpt-4"), 404, code="model_not_found")
    raises("a wrong URL", missing, lambda: client.embeddings.create(model=model, input="x"), 404)
    raises("a wrong value", bad, chat_with(temperature=3), 400, "temperature")
    raises("tools", bad, chat_with(tools=[{"type": "function", "function": {"name": "f"}}]), 400, "tools",
           "unsupported_parameter")
    raises("a form", bad, chat_with(response_format={"type": "json_object"}), 400, "response_format")
    raises("an unknown field", bad, chat_with(extra_body={"speed": 9}), 400, "speed", "unsupported_parameter")
    raises("a file", bad, chat_with(extra_body={"controller": "replay:/etc/passwd"}), 400, "controller", text="refused")
    raises("a budget", bad, chat_with(extra_body={"controller": "exit:13"}), 400, "controller", text="13")
    raises("a long prompt", bad, lambda: client.completions.create(model=model, prompt=[2] * 65), 400, "prompt",
           "context_length_exceeded")
    raises("an image", bad, chat_with(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
           400, "messages[0].content")

with tempfile.TemporaryDirectory() as folder, Server(binary, *longer_model(folder, 8192), "--max-rows", "1", "--queue", "1",
                                                     "--max-tokens", "8000") as server:
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    model = client.models.list().data[0].id
    stream = client.completions.create(model=model, prompt=SORT, stream=True, **ENDLESS)
    check("a stream begins before its end", next(iter(stream)).choices[0].text == "1")

    waiting = threading.Thread(target=lambda: client.completions.create(model=model, prompt=SORT, max_tokens=5, **ENDLESS))
    waiting.start()
    check("a request waits", wait_for(server, "dynlayer_queue_length", 1))
    raises("a full queue", openai.RateLimitError, lambda: client.completions.create(model=model, prompt=SORT), 429,
           code="queue_full")
    retrying = client.with_options(max_retries=8)
    threading.Timer(0.3, stream.close).start()
    check("the client retries", retrying.completions.create(model=model, prompt=SORT, temperature=0).choices[0].text == "12345789")
    waiting.join()
    check("a closed stream gives its row back", wait_for(server, "dynlayer_rows", 0)
          and server.metrics()['dynlayer_sequences_total{reason="cancelled"}'] == 1)

    def late(seconds):
        return client.completions.create(model=model, prompt=SORT, extra_body={"timeout": seconds}, **ENDLESS)
    text = late(0.5).choices[0]
    check("a deadline ends a text", (text.finish_reason, text.stop_reason, text.text[:8]) == ("length", "deadline", "12345789"))
    stream = client.completions.create(model=model, prompt=SORT, stream=True, **ENDLESS)
    next(iter(stream))
    raises("a deadline in the queue", openai.InternalServerError, lambda: late(0.3), 504, code="deadline")
    stream.close()
    try:
        client.with_options(timeout=0.3).completions.create(model=model, prompt=SORT, **ENDLESS)
        check("a client's own timeout", False)
    except openai.APITimeoutError:
        check("a client's own timeout frees its row", wait_for(server, "dynlayer_rows", 0))
    check("no memory is left", server.metrics()["dynlayer_cache_bytes"] == 0)

sys.exit(bool(failures))
