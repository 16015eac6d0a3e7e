"""What Jinja2 makes of templates, set up as transformers does for chat templates.

The environment is that of `_compile_jinja_template` (transformers,
utils/chat_template_utils.py). Writes reference.json beside this file; needs
Jinja2 3.1.6 (pip install jinja2==3.1.6).
"""

import copy
import json
from pathlib import Path

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """`{% generation %}` marks what an assistant says; it changes no text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

arguments = {"a": 1, "b": [1.5, True, None], "s": 'x"y'}
call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
parameters = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
variables = {
    "messages": [
        {"role": "system", "content": " Be é <b>. "},
        {"role": "user", "content": "Hi\nthere"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "9"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
    "x": {"b": 1, "a": [1, 2, {"k": "ü</x>"}], "n": None},
    "l": [3, 1, 2],
    "s": "Hello World",
    "n": 2.5,
    "i": 7,
    "e": [],
}

templates = [
    "{% for i in l %}{% if i==1 %}{% continue %}{% endif %}{{i}}{% endfor %}",
    "{% for i in l %}{% if i==1 %}{% break %}{% endif %}{{i}}{% endfor %}",
    "{% generation %}a{{s}}{% endgeneration %}",
    "{{ x|tojson }}",
    "{{ x|tojson(indent=2) }}",
    "{{ x|tojson(indent=4) }}",
    "{{ x|tojson(ensure_ascii=True) }}",
    "{{ x|tojson(ensure_ascii=False) }}",
    "{{ x|tojson(separators=(',',':')) }}",
    "{{ x|tojson(separators=(',', ': ')) }}",
    "{{ x|tojson(sort_keys=True) }}",
    "{{ x|tojson(sort_keys=true, indent=2) }}",
    "{{ n|tojson }}",
    "{{ [1.0,2.5,1e20]|tojson }}",
    "{{ s|tojson }}",
    "{{ 'a/b</s>&\\u2028'|tojson }}",
    "{{ x }}",
    "{{ l }}",
    "{{ (n)|tojson }}",
    "{{ true }} {{ none }} {{ x.n }}",
    "{{ ({'a':'b','c':\"d'e\"})|tojson }}",
    "{{ ((1,2))|tojson }}",
    "{{ (['a',none,true,1.0])|tojson }}",
    "{{ (s|upper)|tojson }}",
    "{{ (s|lower)|tojson }}",
    "{{ (s|title)|tojson }}",
    "{{ (s|capitalize)|tojson }}",
    "{{ (s|length)|tojson }}",
    "{{ (s|replace('o','0'))|tojson }}",
    "{{ (s|trim)|tojson }}",
    "{{ (' a '|trim)|tojson }}",
    "{{ (l|sort)|tojson }}",
    "{{ (l|sort(reverse=true))|tojson }}",
    "{{ (l|reverse|list)|tojson }}",
    "{{ (l|join('-'))|tojson }}",
    "{{ (l|first)|tojson }}",
    "{{ (l|last)|tojson }}",
    "{{ (l|min)|tojson }}",
    "{{ (l|max)|tojson }}",
    "{{ (l|sum)|tojson }}",
    "{{ (l|unique|list)|tojson }}",
    "{{ (x|items|list)|tojson }}",
    "{{ (x.items()|list)|tojson }}",
    "{{ (x.keys()|list)|tojson }}",
    "{{ (x.values()|list)|tojson }}",
    "{{ (x|dictsort)|tojson }}",
    "{{ (messages|map(attribute='role')|list)|tojson }}",
    "{{ (messages|selectattr('role','equalto','user')|list|length)|tojson }}",
    "{{ (messages|rejectattr('role','equalto','user')|list|length)|tojson }}",
    "{{ (messages|selectattr('role','in',['user','tool'])|list|length)|tojson }}",
    "{{ (messages|selectattr('tool_calls','defined')|list|length)|tojson }}",
    "{{ (l|select('odd')|list)|tojson }}",
    "{{ (l|reject('equalto',1)|list)|tojson }}",
    "{{ (l|map('string')|list)|tojson }}",
    "{{ (l|batch(2)|list)|tojson }}",
    "{{ (s|list)|tojson }}",
    "{{ ('3'|int + 1)|tojson }}",
    "{{ ('3.5'|float)|tojson }}",
    "{{ ('x'|int(5))|tojson }}",
    "{{ (n|int)|tojson }}",
    "{{ (3.7|round)|tojson }}",
    "{{ (3.14159|round(2))|tojson }}",
    "{{ (-3|abs)|tojson }}",
    "{{ (s|default('d'))|tojson }}",
    "{{ (undefd|default('d'))|tojson }}",
    "{{ (''|default('d',true))|tojson }}",
    "{{ (''|d('e', boolean=true))|tojson }}",
    "{{ (s|indent(2))|tojson }}",
    "{{ ('a\\nb'|indent(4))|tojson }}",
    "{{ ('a\\nb'|indent(4,true))|tojson }}",
    "{{ (s|wordcount)|tojson }}",
    "{{ (s|center(20))|tojson }}",
    "{{ ('<a>'|escape)|tojson }}",
    "{{ ('<a>'|e)|tojson }}",
    "{{ ('<a>'|safe)|tojson }}",
    "{{ (s|truncate(8))|tojson }}",
    "{{ (s.split())|tojson }}",
    "{{ (s.split('o'))|tojson }}",
    "{{ (s.split('o',1))|tojson }}",
    "{{ (s.rsplit(' ',1))|tojson }}",
    "{{ s.strip() }}{{ 'xxaxx'.strip('x') }}{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|",
    "{{ (s.startswith('He'))|tojson }}",
    "{{ (s.endswith(('d','x')))|tojson }}",
    "{{ (s.upper())|tojson }}",
    "{{ (s.lower())|tojson }}",
    "{{ (s.title())|tojson }}",
    "{{ (s.capitalize())|tojson }}",
    "{{ (s.find('o'))|tojson }}",
    "{{ (s.count('o'))|tojson }}",
    "{{ (s.replace('l','L',1))|tojson }}",
    "{{ ('-'.join(['a','b']))|tojson }}",
    "{{ (s.splitlines())|tojson }}",
    "{{ (s.isdigit())|tojson }}",
    "{{ ('12'.isdigit())|tojson }}",
    "{{ ('{} {}'.format(1,s))|tojson }}",
    "{{ (s[0])|tojson }}",
    "{{ (s[-1])|tojson }}",
    "{{ (s[1:3])|tojson }}",
    "{{ (s[::-1])|tojson }}",
    "{{ (l[1:])|tojson }}",
    "{{ (l[::2])|tojson }}",
    "{{ (x['b'])|tojson }}",
    "{{ (x.get('zz','d'))|tojson }}",
    "{{ (x.get('b'))|tojson }}",
    "{{ ('a' in x)|tojson }}",
    "{{ ('q' not in s)|tojson }}",
    "{{ (1 in l)|tojson }}",
    "{{ (7//2)|tojson }}",
    "{{ (7/2)|tojson }}",
    "{{ (7%3)|tojson }}",
    "{{ (2**3)|tojson }}",
    "{{ (-7//2)|tojson }}",
    "{{ (-7%3)|tojson }}",
    "{{ (1 if l else 2)|tojson }}",
    "{{ (s ~ i ~ n ~ none)|tojson }}",
    "{{ (l + [4])|tojson }}",
    "{{ ('a'*3)|tojson }}",
    "{{ ([1]*2)|tojson }}",
    "{{ (1 < 2 < 3)|tojson }}",
    "{{ (not e and s)|tojson }}",
    "{{ (e or 'z')|tojson }}",
    "{{ (x is mapping)|tojson }}",
    "{{ (l is sequence)|tojson }}",
    "{{ (s is string)|tojson }}",
    "{{ (i is number)|tojson }}",
    "{{ (l is iterable)|tojson }}",
    "{{ (n is none)|tojson }}",
    "{{ (zz is undefined)|tojson }}",
    "{{ (true is boolean)|tojson }}",
    "{{ (i is integer)|tojson }}",
    "{{ (n is float)|tojson }}",
    "{{ (i is odd)|tojson }}",
    "{{ (i is divisibleby(7))|tojson }}",
    "{{ (s is sameas(s))|tojson }}",
    "{{ (true is true)|tojson }}",
    "{{ (i is eq(7))|tojson }}",
    "{{ ('a' is in(['a']))|tojson }}",
    "{{ (s is lower)|tojson }}",
    "{% set ns = namespace(a=1,b=[]) %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% macro m(a,b=2,*args,**kw) %}{{a}}{{b}}{{args}}{{kw}}{% endmacro %}{{ m(1) }}{{ m(1,3) }}{{ m(a=5) }}",
    "{% macro m(a) %}[{{ caller() }}{{a}}]{% endmacro %}{% call m(1) %}x{% endcall %}",
    "{% set t %}a{{s}}{% endset %}{{ t|length }}",
    "{% filter upper %}abc{% endfilter %}",
    "{% for k,v in x.items() %}{{k}}={{v}};{% endfor %}",
    "{% for i in l %}{{loop.index}}{{loop.index0}}{{loop.first}}{{loop.last}}{{loop.length}}{{loop.revindex}}{{loop.previtem}}{{loop.nextitem}}{{loop.cycle('a','b')}} {% endfor %}",
    "{% for i in l if i>1 %}{{i}}{{loop.index}}{% else %}none{% endfor %}",
    "{% for i in e %}x{% else %}none{% endfor %}",
    "{% for i in range(3) %}{{i}}{% endfor %}{% for i in range(5,0,-2) %}{{i}}{% endfor %}",
    "{% for i in l recursive %}{{i}}{% endfor %}",
    "{% with a=1 %}{{a}}{% endwith %}",
    "{% raw %}{{x}}{% endraw %}",
    "{# c #}a{#- c -#} b",
    "{%- if s -%} a {%- elif n -%} b {%- else -%} c {%- endif -%} d",
    "  {% if s %}\n  a\n  {% endif %}\nb",
    "{{ (dict(a=1,b=2))|tojson }}",
    "{{ (messages[0].content.strip()|length)|tojson }}",
    "{{ (messages[-1]['role'])|tojson }}",
    "{{ (messages[1:]|length)|tojson }}",
    "{{ raise_exception('no') }}",
    "{% set a, b = 1, 2 %}{{a}}{{b}}",
    "{% set x2 = {'a': 1} %}{% set _ = l.append(1) %}{{l}}",
    "{{ (l.index(1))|tojson }}",
    "{{ (l.count(1))|tojson }}",
    "{{ (l.pop())|tojson }}",
    "{{ (s|string|list|join)|tojson }}",
    "{{ (i|string)|tojson }}",
    "{{ (n|string)|tojson }}",
    "{{ (['b','A']|sort)|tojson }}",
    "{{ (['b','A']|sort(case_sensitive=true))|tojson }}",
    "{{ ([{'a':2},{'a':1}]|sort(attribute='a'))|tojson }}",
    "{{ (messages|map('length')|list)|tojson }}",
    "{{ (1000000)|tojson }}",
    "{{ (1e3)|tojson }}",
    "{{ (1_000)|tojson }}",
    "{{ ('a' 'b')|tojson }}",
    "{{ (\"a\\tb\")|tojson }}",
    "{{ (l|slice(2)|list)|tojson }}",
    "{{ ('ab'|reverse)|tojson }}",
    "{{ (('a','b')|join)|tojson }}",
    "{{ (none|default('x'))|tojson }}",
    "{{ none|tojson }}",
    "{{ messages|tojson }}",
    "{{ tools|tojson(indent=4) }}",
    "{% do l.append(2) %}",
    "{{ (s is startingwith('H'))|tojson }}",
    "{{ (namespace is defined)|tojson }}",
    "{{ (5|round)|tojson }}",
    "{{ (2.5|round)|tojson }}",
    "{{ (2.5|round(method='floor'))|tojson }}",
    "{{ (3|float)|tojson }}",
    "{{ (True)|tojson }}",
    "{{ (False)|tojson }}",
    "{{ (None)|tojson }}",
    "{{ (x.a[2].k)|tojson }}",
    "{{ (x['a'][2]['k'])|tojson }}",
    "{{ (x.zz is defined)|tojson }}",
    "{{ messages[2].tool_calls[0].function.arguments|tojson }}",
    "{{ (messages[2].tool_calls[0].function.arguments.items()|list)|tojson }}",
    "{{ (0.1+0.2)|tojson }}",
    "{{ (10/2)|tojson }}",
    "{{ (1.0*3)|tojson }}",
    "{{ (2**-1)|tojson }}",
    "{{ ('a\\nb'.split('\\n')|length)|tojson }}",
    "{{ s.rstrip('d') }}{{ s.removeprefix('He') }}{{ s.removesuffix('ld') }}{{ s.partition(' ') }}{{ s.zfill(15) }}{{ s.ljust(13) }}|{{ s.isalpha() }}{{ s.swapcase() }}{{ s.index('W') }}{{ s.rfind('o') }}",
]


def render(template):
    try:
        return {"text": environment.from_string(template).render(**copy.deepcopy(variables))}
    except (jinja2.exceptions.TemplateError, TypeError) as error:
        return {"error": str(error)}


reference = {"variables": variables, "cases": [{"template": each, **render(each)} for each in templates]}
path = Path(__file__).with_name("reference.json")
path.write_text(json.dumps(reference, ensure_ascii=False, indent=1) + "\n")
