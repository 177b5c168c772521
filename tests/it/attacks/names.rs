//! Malicious names and addresses, which users can choose in Entra: stored as text or sanitized, never interpreted, and
//! never logged.

use entra_simulator::ObjectId;
use rstest::rstest;
use serde_json::{Value, json};

use super::Siege;
use crate::support::{Browser, LiteLlm, Native, StoreKind};

/// Expected treatment of a name.
enum Becomes {
    Itself,
    Text(&'static str),
    /// Truncated to the number of characters that Entra allows.
    Cut,
    Nothing,
}

use Becomes::{Cut, Itself, Nothing, Text};

fn names() -> Vec<(&'static str, String, Becomes)> {
    let crabs = "🦀".repeat(2_500);
    [
        ("a script", "<script>alert(1)</script>", Itself),
        ("an image", "<img src=x onerror=alert(1)>", Itself),
        ("the end of an attribute", "\"' autofocus onfocus=alert(1) x='", Itself),
        ("the end of the title", "</title></style></textarea><svg/onload=alert(1)>", Itself),
        ("HTML that was escaped before", "&lt;b&gt; &amp; &#60;i&#62; &#0;", Itself),
        ("templates", "{{7*7}} ${7*7} {% include 'x' %} <%= 7*7 %> #{7*7}", Itself),
        ("SQL", "Robert'); drop table entraway.teams; --", Itself),
        ("what SQL may replace", "100% %s %I $1 $$ ${HOME} :name ?", Itself),
        ("quotes and backslashes", r#"O'Brien "the \ group" {braces} [brackets] \' \u0000"#, Itself),
        ("a word of SQL", "NULL", Itself),
        ("an empty array of Postgres", "{}", Itself),
        ("a word of LiteLLM", "all-org-models", Itself),
        ("a formula", "=cmd|' /C calc'!A0", Itself),
        ("a formula that looks like an address", "@SUM(1+1)*cmd|' /C calc'!A0", Itself),
        ("commands", "$(id) `id` ; rm -rf / | x && y", Itself),
        ("a path", "../../../../etc/passwd", Itself),
        ("a list", "a,b;c|d", Itself),
        ("JSON", "\",\"user_role\":\"proxy_admin\",\"x\":\"", Itself),
        ("many alphabets", "Zürich 東京 Ελλάδα 🦀👩‍👩‍👧‍👦", Itself),
        ("from right to left", "פרויקט مشروع", Itself),
        ("letters that look like others", "Аdmіnѕ", Itself),
        ("a zero-width space", "Adm\u{200b}ins", Itself),
        ("no character of Unicode", "Adm\u{fffe}ins\u{10ffff}", Itself),
        ("a header", "Sales\r\nSet-Cookie: entraway=1", Text("SalesSet-Cookie: entraway=1")),
        ("a line of the log", "x\n2026-01-01T00:00:00.000000Z  INFO in", Text("x2026-01-01T00:00:00.000000Z  INFO in")),
        ("a NUL", "Fin\u{0}ance", Text("Finance")),
        ("controls around it", "\u{0}\u{1}Sales\r\n\t", Text("Sales")),
        ("C1 controls", "\u{7f}\u{85}Delete\u{9f}", Text("Delete")),
        ("terminal escapes", "Al\u{1b}[31m\u{1b}]0;x\u{7}ice", Text("Al[31m]0;xice")),
        ("blanks around it", "  In the middle \u{a0}", Text("In the middle")),
        ("bidi controls", "tax\u{202e}nimda\u{202c} office", Text("taxnimda office")),
        ("bidi isolates", "\u{2067}a\u{2069}\u{2066}b\u{2069}\u{2069}c", Text("abc")),
        ("line ends of Unicode", "a\u{2028}b\u{2029}c", Text("abc")),
        ("ten kilobytes", &"x".repeat(10_000), Cut),
        ("ten kilobytes of crabs", &crabs, Cut),
        ("stacked accents", &format!("e{}", "\u{301}".repeat(5_000)), Cut),
        ("the maximum length", &"é".repeat(256), Itself),
        ("nothing", "", Nothing),
        ("blanks alone", " \u{3000} ", Nothing),
        ("only controls", "\u{0}\u{1}", Nothing),
        ("only zero-width spaces", "\u{200b}\u{200d}\u{feff}", Nothing),
        ("only bidi controls", "\u{202e}\u{202c}\u{200f}", Nothing),
        ("letters that are blank", "\u{3164}\u{2800}\u{115f}", Nothing),
        ("invisible marks", "\u{e0041}\u{e0064}\u{fe0f}", Nothing),
    ]
    .map(|(how, name, becomes)| (how, name.to_owned(), becomes))
    .into()
}

/// Stored form of the name.
fn kept(name: &str, becomes: &Becomes) -> Option<String> {
    match becomes {
        Itself => Some(name.to_owned()),
        Text(text) => Some((*text).to_owned()),
        Cut => Some(name.chars().take(256).collect()),
        Nothing => None,
    }
}

/// Creates a user with this name and these addresses.
fn person(siege: &Siege, name: &str, upn: &str, email: Option<&str>) -> ObjectId {
    siege.world.simulator.edit(|directory| {
        directory.person(name, |person| {
            upn.clone_into(&mut person.upn);
            person.email = email.map(str::to_owned);
        })
    })
}

/// Signs the user in; returns the browser and the front page.
async fn enters(siege: &mut Siege, how: &str, person: ObjectId) -> (Browser, String) {
    siege.names(how);
    let (mut browser, callback) = siege.comes_back(person).await;
    let answer = browser.get(callback).await;
    assert_eq!(answer.status, 303, "{how}: {answer:#?}");
    siege.leaks_nothing(how, &answer);
    siege.secrets.add_cookies(&browser);
    let page = browser.get(siege.at("/")).await;
    assert_eq!(page.status, 200, "{how}: {page:#?}");
    (browser, page.body)
}

/// Decodes HTML text as a browser shows it. The text must contain no markup.
fn shown(html: &str) -> String {
    assert!(!html.contains(['<', '>', '"', '\'']), "HTML in the text {html}");
    let text = html.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    text.replace("&#38;", "&")
}

fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).unwrap_or_else(|| panic!("no {from} in {page}"));
    rest.split_once(to).unwrap_or_else(|| panic!("no {to} in {page}")).0
}

/// Registers the name as a secret of the log check.
fn hide(siege: &mut Siege, name: &str) {
    // Shorter names can occur in the log for other reasons.
    if name.len() > 14 {
        siege.secrets.add("name", name);
    }
}

#[rstest]
#[tokio::test]
async fn invalid_email_is_not_stored_or_shown(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut siege = Siege::of(store).await;
    let long = format!("{}@evil.example", "x".repeat(10_000));
    for (how, address, kept) in [
        ("a line end in it", "alice@contoso-sim.example\r\nBcc: eve@evil.example", None),
        ("a line end of Unicode in it", "alice@contoso-sim.example\u{2028}eve@evil.example", None),
        ("a NUL in it", "alice\u{0}@contoso-sim.example", None),
        ("ten kilobytes", &long, None),
        ("a name around it", "Alice <alice@contoso-sim.example>", None),
        ("two of them", "alice@contoso-sim.example,eve@evil.example", None),
        ("a script", "<script>alert(1)</script>@evil.example", None),
        ("a script in quotes", "\"<script>alert(1)</script>\"@evil.example", None),
        ("bidi controls", "\u{202e}ecila@contoso-sim.example", None),
        ("a zero-width space", "alice\u{200b}@contoso-sim.example", None),
        ("no name in front", "@contoso-sim.example", None),
        ("no address", "alice", None),
        ("SQL", "o'brien'--@evil.example", Some("o'brien'--@evil.example")),
        ("a formula", "=1+1@evil.example", Some("=1+1@evil.example")),
        ("percents", "alice%0d%0a@evil.example", Some("alice%0d%0a@evil.example")),
    ] {
        let person = person(&siege, "Somebody", address, Some(address));
        let (_, page) = enters(&mut siege, how, person).await;
        let rows = siege.world.rows().await;
        assert_eq!(rows.users[&person.to_string()]["user_email"], json!(kept), "{how}: the row");
        let told = page.contains("<dt>E-mail</dt>").then(|| shown(between(&page, "<dt>E-mail</dt><dd>", "</dd>")));
        assert_eq!(told.as_deref(), kept, "{how}: on the page");
        hide(&mut siege, address);
    }
    siege.stands(15).await;
}

/// One sign-in per name.
mod slow {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn user_display_name_is_stored_and_shown_as_text(#[values(Native, LiteLlm)] store: StoreKind) {
        let mut siege = Siege::of(store).await;
        for (number, (how, name, becomes)) in names().into_iter().enumerate() {
            let address = format!("person{number}@contoso-sim.example");
            let person = person(&siege, &name, &address, None);
            let (mut browser, page) = enters(&mut siege, how, person).await;
            let kept = kept(&name, &becomes);
            assert_eq!(
                siege.world.rows().await.users[&person.to_string()]["user_alias"],
                json!(kept),
                "{how}: the row"
            );
            let me = browser.me(&siege.service).await;
            assert_eq!(me.json()["user"]["display_name"], json!(kept), "{how}: /api/me");
            let seen = kept.unwrap_or(address);
            assert_eq!(shown(between(&page, "<h1>", "</h1>")), seen, "{how}: on the page");
            assert_eq!(shown(between(&page, "<title>", "</title>")), format!("{seen} · Entraway"), "{how}: the title");
            hide(&mut siege, &name);
            hide(&mut siege, &seen);
        }
        siege.stands(40).await;
    }

    #[rstest]
    #[tokio::test]
    async fn group_display_name_is_stored_and_shown_as_text(#[values(Native, LiteLlm)] store: StoreKind) {
        let mut siege = Siege::of(store).await;
        for (how, name, becomes) in names() {
            let group = siege.world.simulator.edit(|directory| {
                let group = directory.group(&name);
                directory.assign(group);
                group
            });
            let address = format!("{group}@contoso-sim.example");
            let member = person(&siege, "Member", &address, None);
            siege.world.simulator.edit(|directory| directory.put(member, group));
            let (mut browser, page) = enters(&mut siege, how, member).await;
            let kept = kept(&name, &becomes).unwrap_or(group.to_string());
            let rows = siege.world.rows().await;
            let alias = |rows: &Value, name: &str| rows[name].as_str().unwrap().to_owned();
            let id = group.to_string();
            assert_eq!(alias(&rows.organizations[&id], "organization_alias"), kept, "{how}: the organization");
            assert_eq!(alias(&rows.teams[&id], "team_alias"), kept, "{how}: the team");
            assert_eq!(siege.world.last_run().await["failures"], json!([]), "{how}");
            let me = browser.me(&siege.service).await.json();
            assert_eq!(me["teams"][0]["team_alias"], json!(kept), "{how}: /api/me");
            for (title, path) in [("Organizations", "organizations"), ("Teams", "teams")] {
                let table = between(&page, &format!("<h2>{title}</h2>"), "</section>");
                let link = format!("<th scope=\"row\"><a href=\"/{path}/{id}\">");
                assert_eq!(shown(between(table, &link, "</a></th>")), kept, "{how}: among the {path} of the page");
                let own = browser.get(siege.at(&format!("/{path}/{id}"))).await;
                assert_eq!(own.status, 200, "{how}: {own:#?}");
                assert_eq!(shown(between(&own.body, "<h1>", "</h1>")), kept, "{how}: on its own page among the {path}");
                let title = shown(between(&own.body, "<title>", "</title>"));
                assert_eq!(title, format!("{kept} · Entraway"), "{how}: the title of its own page among the {path}");
            }
            let sync = shown(between(between(&page, "<h2>Last sync</h2>", "</section>"), "</time>: ", "</p>"));
            assert!(sync.contains(&format!("added to {kept}")), "{how}: {sync}");
            let before = siege.world.versions().await;
            siege.world.sign_in(&siege.service, member).await;
            assert_eq!(siege.world.versions().await, before, "{how}: the second sign-in changes nothing");
            siege.world.simulator.edit(|directory| directory.remove_group(group));
            hide(&mut siege, &name);
            if kept != id {
                hide(&mut siege, &kept);
            }
        }
        siege.stands(40).await;
    }
}
