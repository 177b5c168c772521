//! Chromium without a screen, told what to do over WebDriver (W3C). `script/setup --browser` installs both programs.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Longer than a page takes on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
pub(super) enum Key {
    Tab,
    Enter,
}

pub(super) struct WebDriver {
    driver: Child,
    http: reqwest::Client,
    session: String,
}

impl Drop for WebDriver {
    /// The driver and the browser that it started: both are in the driver's process group.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}

/// A driver, and its port. It takes one that is free by IPv4, and gives up where somebody else has it by IPv6.
fn started() -> (Child, u16) {
    let mut all_said = Vec::new();
    for _ in 0..5 {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed: script/setup --browser does that");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        for line in lines.take(20) {
            let port = line.split_once("started successfully on port ").map(|(_, rest)| rest.trim_end_matches('.'));
            if let Some(port) = port {
                return (driver, port.parse().unwrap());
            }
            all_said.push(line);
        }
        let _ = driver.kill();
        let _ = driver.wait();
    }
    panic!("chromedriver does not start: {all_said:#?}");
}

impl WebDriver {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments for Chromium.
    pub(super) async fn start_with(more: &[&str]) -> Self {
        // Another test of this process may have done so.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (driver, port) = started();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, http, session };
        // As root there is no sandbox; and a browser at rest asks for nothing outside.
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-dev-shm-usage",
            "--window-size=1200,900",
        ];
        let args = [&args[..], more].concat();
        let capabilities = json!({
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
            // axe has much to look at, and the machine may have other things to do.
            "timeouts": { "script": 120_000 },
        });
        let begun = browser.call("", json!({ "capabilities": { "alwaysMatch": capabilities } })).await;
        let begun = begun.unwrap_or_else(|error| panic!("Chromium did not start: {error}"));
        browser.session = format!("{}/{}", browser.session, begun["sessionId"].as_str().unwrap());
        browser
    }

    /// One command; what it gives, or WebDriver's error.
    pub(super) async fn call(&self, command: &str, body: Value) -> Result<Value, Value> {
        let response = self.http.post(format!("{}{command}", self.session)).json(&body).send().await.unwrap();
        let good = response.status().is_success();
        let mut answer: Value = response.json().await.unwrap();
        let value = answer["value"].take();
        if good { Ok(value) } else { Err(value) }
    }

    /// What a function's body, run in the page, returns. No policy of the page's and no script being off hinders that.
    pub(super) async fn script(&self, script: &str, args: Value) -> Result<Value, Value> {
        self.call("/execute/sync", json!({ "script": script, "args": args })).await
    }

    /// A command of Chromium's own, for which WebDriver has none.
    pub(super) async fn devtools(&self, command: &str, params: Value) -> Value {
        let done = self.call("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
        done.unwrap_or_else(|error| panic!("{command}: {}", error["message"]))
    }

    /// Tries until it goes well: pages come and go while we look.
    async fn until<T>(&self, what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Value>) -> T {
        let begin = Instant::now();
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) if begin.elapsed() > PATIENCE => {
                    panic!("{what}: {}; the page says\n{}", error["message"], self.text().await)
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub(super) async fn go(&self, url: &str) {
        self.call("/url", json!({ "url": url })).await.unwrap();
    }

    /// All that a person can read on the page.
    pub(super) async fn text(&self) -> String {
        let script = "return document.body ? document.body.innerText : ''";
        let text = self.script(script, json!([])).await.unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn title(&self) -> String {
        let title = self.script("return document.title", json!([])).await.unwrap();
        title.as_str().unwrap().to_owned()
    }

    /// Presses a key, on whatever has the focus.
    pub(super) async fn press(&self, key: Key) {
        let key = match key {
            Key::Tab => "\u{e004}",
            Key::Enter => "\u{e007}",
        };
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] });
        self.call("/actions", actions).await.unwrap();
    }

    pub(super) async fn until_text(&self, text: &str) {
        let look = async || if self.text().await.contains(text) { Ok(()) } else { Err(Value::Null) };
        self.until(&format!("no {text:?}"), look).await;
    }

    /// Until the page is one whose title begins so.
    pub(super) async fn until_title(&self, title: &str) {
        let look = async || {
            // Of a page that is still being read the title is there before the rest.
            let now = self.script("return document.readyState === 'complete' ? document.title : ''", json!([])).await?;
            if now.as_str().is_some_and(|now| now.starts_with(title)) { Ok(()) } else { Err(json!({ "message": now })) }
        };
        self.until(&format!("no page {title:?}"), look).await;
    }

    /// Until there are so many of these on the page.
    pub(super) async fn until_count(&self, xpath: &str, count: usize) {
        let look = async || {
            let texts = self.read_all(xpath).await?;
            if texts.len() == count { Ok(()) } else { Err(json!({ "message": texts })) }
        };
        self.until(&format!("not {count} of {xpath}"), look).await;
    }

    /// What stands in each of these; there may be none.
    pub(super) async fn texts(&self, xpath: &str) -> Vec<String> {
        self.read_all(xpath).await.unwrap()
    }

    async fn read_all(&self, xpath: &str) -> Result<Vec<String>, Value> {
        let script = r"
            const found = document.evaluate(arguments[0], document, null, XPathResult.ORDERED_NODE_SNAPSHOT_TYPE, null);
            return Array.from({ length: found.snapshotLength }, (_, number) => found.snapshotItem(number).innerText.trim())";
        let texts = self.script(script, json!([xpath])).await?;
        Ok(texts.as_array().into_iter().flatten().map(|text| text.as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Until a form of the simulated Entra was answered: that leads back to the card which it changed.
    pub(super) async fn until_sent(&self) {
        let look = async || {
            let hash = self.script("return location.hash", json!([])).await?;
            if hash.as_str().is_some_and(|hash| !hash.is_empty()) { Ok(()) } else { Err(Value::Null) }
        };
        self.until("the form was not answered", look).await;
    }

    pub(super) async fn text_of(&self, xpath: &str) -> String {
        let read = async || {
            let element = self.find(xpath).await?;
            self.script("return arguments[0].innerText", json!([{ ELEMENT: element }])).await
        };
        self.until(&format!("no {xpath}"), read).await.as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn click(&self, xpath: &str) {
        let click = async || {
            let element = self.find(xpath).await?;
            self.call(&format!("/element/{element}/click"), json!({})).await
        };
        self.until(&format!("cannot click {xpath}"), click).await;
    }

    pub(super) async fn type_into(&self, xpath: &str, text: &str) {
        let write = async || {
            let element = self.find(xpath).await?;
            self.call(&format!("/element/{element}/value"), json!({ "text": text })).await
        };
        self.until(&format!("cannot type into {xpath}"), write).await;
    }

    async fn find(&self, xpath: &str) -> Result<String, Value> {
        let found = self.call("/element", json!({ "using": "xpath", "value": xpath })).await?;
        Ok(found[ELEMENT].as_str().unwrap_or_default().to_owned())
    }

    /// Another tab, with the same cookies, in front from now on; gives what `show_tab` knows it by.
    pub(super) async fn new_tab(&self) -> String {
        let tab = self.call("/window/new", json!({ "type": "tab" })).await.unwrap();
        let tab = tab["handle"].as_str().unwrap().to_owned();
        self.show_tab(&tab).await;
        tab
    }

    /// The tab in front.
    pub(super) async fn tab(&self) -> String {
        let response = self.http.get(format!("{}/window", self.session)).send().await.unwrap();
        let answer: Value = response.json().await.unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    pub(super) async fn show_tab(&self, tab: &str) {
        self.call("/window", json!({ "handle": tab })).await.unwrap();
    }

    /// Makes the browser nobody's: it forgets who was signed in, here and at the simulated Entra.
    pub(super) async fn forget(&self) {
        self.devtools("Network.clearBrowserCookies", json!({})).await;
    }

    /// What the browser's console holds, but for answers with an error's status, which the console lists too.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", json!({ "type": "browser" })).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().map(text).filter(|line| !line.contains("the server responded with a status of")).collect()
    }

    /// Closes the browser; dropping does the same, less kindly.
    pub(super) async fn quit(self) {
        let _ = self.http.delete(&self.session).send().await;
    }
}
