"""Makes crates/model/tests/fixtures/templates/rendered.json: conversations as Jinja renders them.

Needs the Python packages transformers (made with 5.24.0) and jinja2 (3.1.6). Run it anywhere: python templates.py
The templates are written here, in the manner of those that families of models come with; `{CRLF}` in a name means that
the lines end as on Windows.
"""

import json
import os

from transformers.utils.chat_template_utils import _compile_jinja_template

FIXTURE = os.path.join(os.path.dirname(__file__), "../../crates/model/tests/fixtures/templates/rendered.json")

CHATML = """{%- if messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- set rest = messages[1:] %}
{%- else %}
    {{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}
    {%- set rest = messages %}
{%- endif %}
{%- for message in rest %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
TEMPLATES = {
    "chatml": CHATML,
    "chatml {CRLF}": CHATML,
    "instruct": """{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content | trim + '\\n\\n' %}\
{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}
{% for message in messages %}
  {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
    {{ raise_exception('roles must alternate') }}
  {% endif %}
  {% if message['role'] == 'user' %}
[INST] {{ (first if loop.first else '') ~ message['content'].strip() }} [/INST]
  {%- else %}
 {{ message['content'] | trim }}{{ eos_token }}
  {%- endif %}
{% endfor %}
""",
    "headers": """{% set ns = namespace(n=0) %}{{- bos_token -}}
{% for m in messages if m.content is string %}{% set ns.n = ns.n + 1 %}
<|start_header_id|>{{ m['role'] }}<|end_header_id|>

{{ m['content'] | trim + '<|eot_id|>' -}}
{% endfor %}
{% if add_generation_prompt and ns.n > 0 %}
<|start_header_id|>assistant<|end_header_id|>

{# the answer #}{{ '' }}{% endif %}""",
    "thinking {CRLF}": """{%- macro show(role, text) -%}
<|{{ role }}|>
{{ text }}
{%- endmacro -%}
{% for m in messages %}
{%- set text = m.content.split('</think>')[-1].lstrip('\\n') if m.role == 'assistant' else m.content %}
{{- show(m.role, text) }}
{% if loop.last %}{{ loop.length }} {{ loop.revindex0 }}{% endif %}
{% endfor %}
{{- '<|assistant|>\\n' if add_generation_prompt and messages[-1].role == 'user' else '' }}""",
    "json": """{% for m in messages %}{{ m | tojson }}
{{ {'n': loop.index, 'first': loop.first, 'tools': tools, 'none': none} | tojson(indent=2) }}
{% endfor %}{{ messages | map(attribute='role') | join(',') }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{- messages[0].get('name', 'nobody') }} {{ unk_token ~ pad_token }}""",
}
SYSTEM = ("system", '  Be "kind" & <brief>.\n')
ASK, ANSWER, MORE, THOUGHT = (
    ("user", "What is 2+2?"),
    ("assistant", " It's 4.\n\nOK? é😀 "),
    ("user", "\tAnd {{ 3+3 }} {% if %}\r\n?  "),
    ("assistant", "<think>hm\nwell</think>\n\nSix."),
)
CONVERSATIONS = [
    [ASK],
    [ASK, ANSWER, MORE],
    [SYSTEM, ASK],
    [SYSTEM, MORE, THOUGHT, ASK],
    [ASK, THOUGHT, MORE, ANSWER],
    [ASK, MORE],
]


def render(template, messages):
    try:
        return _compile_jinja_template(template).render(
            messages=[{"role": role, "content": content} for role, content in messages],
            tools=None, documents=None, add_generation_prompt=True,
            bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        )
    except Exception:
        return None  # refused


def main():
    fixture = {}
    for name, template in TEMPLATES.items():
        if "{CRLF}" in name:
            template = template.replace("\n", "\r\n")
        turns = [{"messages": messages, "rendered": render(template, messages)} for messages in CONVERSATIONS]
        fixture[name] = {"template": template, "turns": turns}
    with open(FIXTURE, "w", encoding="utf-8") as file:
        json.dump({"templates": fixture}, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
