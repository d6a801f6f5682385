//! Tests of chat templates.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::text::{ChatMessage, ChatTemplate, SpecialTokens, TextError, TextErrorKind};

fn roles() -> SpecialTokens {
    SpecialTokens { bos: Some("<s>".to_owned()), eos: Some("</s>".to_owned()), ..SpecialTokens::default() }
}

fn render(template: &str, messages: &[ChatMessage]) -> Result<String, TextError> {
    ChatTemplate::new(template, roles())?.at_time(1_735_689_600).render(messages, true)
}

fn shows(template: &str, expected: &str) {
    assert_eq!(render(template, &[ChatMessage::user("hi")]).unwrap(), expected, "{template}");
}

#[test]
fn chatml() {
    let template = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    let chat = ChatTemplate::new(template, roles()).unwrap();
    let messages = [ChatMessage::user("a"), ChatMessage::assistant("b"), ChatMessage::user("c")];
    let body = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n";
    assert_eq!(chat.render(&messages, false).unwrap(), body);
    assert_eq!(chat.render(&messages, true).unwrap(), format!("{body}<|im_start|>assistant\n"));
    let system = [ChatMessage::system("x")];
    assert_eq!(chat.render(&system, false).unwrap(), "<|im_start|>system\nx<|im_end|>\n");
}

/// Expected texts are those of Jinja 3.1.6, set up as transformers does.
#[test]
fn the_dialect_is_that_of_transformers() {
    shows("{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ nothing }}.", "<s></s>.");
    shows("  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb");
    shows(
        "{{ ' a b '.strip() }}|{{ 'a,b'.split(',')[-1] }}|{{ 'abc'.startswith('ab') }}|{{ 'AbC'.lower() }}",
        "a b|b|True|abc",
    );
    shows("{{ 'x'.replace('x', 'yy') }}{{ '-'.join(['a', 'b']) }}{{ 'a\nb'.splitlines() | length }}", "yya-b2");
    shows("{{ messages[0].content }}{{ messages[0].get('name', 'none') }}{{ messages[-1]['role'] }}", "hinoneuser");
    shows("{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=hi;");
    shows(
        "{{ tools is none }}{{ tools is defined }}{{ pad_token is defined }}{{ messages[0].tool_calls is defined }}",
        "TrueTrueFalseFalse",
    );
    shows("{{ {'b': [1, 2.5, true, none], 'a': '<é\"'} | tojson }}", r#"{"b": [1, 2.5, true, null], "a": "<é\""}"#);
    shows("{{ {'b': 1, 'a': []} | tojson(indent=2) }}", "{\n  \"b\": 1,\n  \"a\": []\n}");
    shows("{{ 'é😀' | tojson(ensure_ascii=true) }}", r#""\u00e9\ud83d\ude00""#);
    shows("{% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3");
    shows(
        "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "013",
    );
    shows("{% for i in [1, 2] %}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}", "21");
    shows(
        "{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') }}{{ messages | map(attribute='role') | join }}",
        "[a]user",
    );
    shows("{{ strftime_now('%d %b %Y') }}", "01 Jan 2025");
    shows("a{% generation %}b{%- endgeneration -%} c", "abc");
    shows("{{ messages[0].content is string }}{{ messages is iterable }}{{ messages[0] is mapping }}", "TrueTrueTrue");
    shows("{{ 'a' ~ 1 ~ none }}{{ [1, 'a'] }}{{ {'a': none} }}", "a1None[1, 'a']{'a': None}");
}

/// Templates with conversations and what Jinja makes of them.
#[derive(Deserialize)]
struct Rendered {
    templates: BTreeMap<String, RenderedTemplate>,
}

#[derive(Deserialize)]
struct RenderedTemplate {
    template: String,
    turns: Vec<RenderedTurn>,
}

/// A conversation: roles and texts, or a single message of the user.
#[derive(Deserialize)]
struct RenderedTurn {
    #[serde(default)]
    messages: Vec<(String, String)>,
    user: Option<String>,
    /// `None` if the template refuses the conversation.
    rendered: Option<String>,
}

/// Compares all conversations of a file.
fn assert_rendered(path: &Path) {
    let file: Rendered = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let token = |text: &str| Some(text.to_owned());
    let roles = SpecialTokens { bos: token("<s>"), eos: token("</s>"), unk: token("<unk>"), pad: token("<pad>") };
    let mut wrong = Vec::new();
    for (name, case) in file.templates {
        let template = ChatTemplate::new(&case.template, roles.clone()).unwrap();
        for turn in case.turns {
            let given = turn.messages.into_iter().map(|(role, text)| ChatMessage::new(role, text));
            let messages: Vec<_> = given.chain(turn.user.map(ChatMessage::user)).collect();
            let found = template.render(&messages, true).ok();
            if found != turn.rendered {
                wrong.push(format!("{name}: {found:?}, not {:?}", turn.rendered));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The workspace's `tests/reference/templates.py` made the fixture.
#[test]
fn conversations_are_rendered_as_jinja_renders_them() {
    assert_rendered(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/templates/rendered.json")));
}

#[test]
#[ignore = "needs DYNLAYER_TEMPLATES, the path of a file like the fixture's"]
fn given_templates_are_rendered_as_jinja_renders_them() {
    assert_rendered(Path::new(&std::env::var_os("DYNLAYER_TEMPLATES").expect("DYNLAYER_TEMPLATES names a file")));
}

#[test]
fn line_ends_of_windows_are_line_ends() {
    let template = "{% for m in messages %}\r\n  {{ m.content + '\r\n' }}\r\n{% endfor %}\rend\r\n";
    let unix = template.replace("\r\n", "\n").replace('\r', "\n");
    shows(template, &render(&unix, &[ChatMessage::user("hi")]).unwrap());
    shows("a\r\nb\rc\r\n", "a\nb\nc");
    let kept = render("{{ messages[0].content }}", &[ChatMessage::user("a\r\nb")]).unwrap();
    assert_eq!(kept, "a\r\nb", "only the template's");
}

#[test]
fn a_refusal_carries_its_message() {
    let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Template { stage: "rendered", .. }), "{error:?}");
    assert!(error.to_string().contains("roles must alternate"), "{error}");
    let error = render("{% if %}", &[]).unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Template { stage: "parsed", .. }), "{error:?}");
    let error = render(&" ".repeat(2 << 20), &[]).unwrap_err();
    assert!(matches!(error.kind(), TextErrorKind::Invalid { .. }), "{error:?}");
}

#[test]
fn long_conversations_are_within_the_budget() {
    let template = "{% for m in messages %}{% if m.role == 'user' or m.role == 'system' %}{{ '<' + m['role'] + '>' + m['content'] | trim }}{% else %}{{ m['content'].strip() }}{% endif %}{% endfor %}";
    let long = "word ".repeat(20_000);
    let messages: Vec<_> =
        (0..200).map(|i| if i % 2 == 0 { ChatMessage::user(&*long) } else { ChatMessage::assistant("ok") }).collect();
    assert!(render(template, &messages).unwrap().len() > 9_000_000);
    let short: Vec<_> = (0..5000).map(|_| ChatMessage::user("x")).collect();
    assert_eq!(render(template, &short).unwrap().len(), 5000 * "<user>x".len());
}

#[test]
fn hostile_templates_end() {
    let nested = format!("{}{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    let brackets = format!("{{{{ {}{} }}}}", "[".repeat(20_000), "]".repeat(20_000));
    let templates = [
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 2000000000 }}",
        "{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
        "{% set s = 'x' * 100000 %}{{ s.replace('x', s) }}",
        "{% set s = 'x' * 100000 %}{{ ''.join([s] * 10000) }}",
        "{% set s = 'x' * 100000 %}{{ [s, s] | join(s) }}{{ s.join(['a'] * 10000) }}",
        "{% set ns = namespace(l=['x']) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l, ns.l] %}{% endfor %}{{ ns.l | tojson }}",
        "{% set ns = namespace(l=['x']) %}{% for i in range(40) %}{% set ns.l = [ns.l, ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l={'a': 1}) %}{% for i in range(40) %}{% set ns.l = {'a': ns.l, 'b': ns.l} %}{% endfor %}{{ ns.l }}{{ [ns.l] }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ '{:>2000000000}'.format('x') }}",
        "{{ '%2000000000d' | format(1) }}",
        "{{ 'x' | indent(2000000000) }}{{ 'x' | center(2000000000) }}",
        "{{ strftime_now('%Y' * 10000000) }}",
        "{{ range(1000000000) | list }}",
        "{{ [1, 2] | tojson(indent=1000000000) }}",
        "{% include 'x' %}",
        &nested,
        &brackets,
    ];
    for template in templates {
        let start = Instant::now();
        let result = render(template, &[ChatMessage::user("hi")]);
        let shown: String = template.chars().take(80).collect();
        assert!(start.elapsed() < Duration::from_secs(5), "{shown} took {:?}", start.elapsed());
        assert!(result.is_err() || result.as_ref().is_ok_and(|text| text.len() < 1 << 24), "{shown}");
    }
}

#[test]
fn values_nested_deeply_do_not_overflow_the_stack() {
    // Values are printed and dropped recursively, and longer conversations allow more depth.
    for kilobytes in [1, 100, 8000] {
        let messages = [ChatMessage::user("x".repeat(kilobytes << 10))];
        for levels in [1000, 10_000, 25_000, 100_000] {
            let template = format!(
                "{{% set ns = namespace(l=[]) %}}{{% for i in range({levels}) %}}{{% set ns.l = [ns.l] %}}{{% endfor %}}"
            );
            let _ = render(&template, &messages);
            let _ = render(&format!("{template}{{{{ ns.l }}}}"), &messages);
        }
    }
}
