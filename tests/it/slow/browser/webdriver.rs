//! Headless Chromium, controlled through WebDriver (W3C). `script/setup --browser` installs both programs.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// WebDriver's key for element references.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Generous time limit, because the machine may be busy.
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
    /// Kills the driver's process group, which contains the browser.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-9", "--", &format!("-{}", self.driver.id())]).status();
        let _ = self.driver.wait();
    }
}

/// Starts a driver and returns its port. It picks a free IPv4 port and exits if the IPv6 port is in use, so this
/// retries.
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
    panic!("chromedriver did not start: {all_said:#?}");
}

impl WebDriver {
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts Chromium with additional arguments.
    pub(super) async fn start_with(more: &[&str]) -> Self {
        // Fails if another test of this process has installed it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (driver, port) = started();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, http, session };
        // The sandbox does not work as root. The other arguments prevent background requests.
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
            // axe takes long on a busy machine.
            "timeouts": { "script": 120_000 },
        });
        let begun = browser.call("", json!({ "capabilities": { "alwaysMatch": capabilities } })).await;
        let begun = begun.unwrap_or_else(|error| panic!("Chromium did not start: {error}"));
        browser.session = format!("{}/{}", browser.session, begun["sessionId"].as_str().unwrap());
        browser
    }

    /// Executes a WebDriver command. Returns its result or WebDriver's error.
    pub(super) async fn call(&self, command: &str, body: Value) -> Result<Value, Value> {
        let response = self.http.post(format!("{}{command}", self.session)).json(&body).send().await.unwrap();
        let good = response.status().is_success();
        let mut answer: Value = response.json().await.unwrap();
        let value = answer["value"].take();
        if good { Ok(value) } else { Err(value) }
    }

    /// Runs a function body in the page and returns its result. Works regardless of the page's policy and of disabled
    /// scripts.
    pub(super) async fn script(&self, script: &str, args: Value) -> Result<Value, Value> {
        self.call("/execute/sync", json!({ "script": script, "args": args })).await
    }

    /// A `DevTools` command, for features that WebDriver lacks.
    pub(super) async fn devtools(&self, command: &str, params: Value) -> Value {
        let done = self.call("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await;
        done.unwrap_or_else(|error| panic!("{command}: {}", error["message"]))
    }

    /// Retries until success, because pages change meanwhile.
    async fn until<T>(&self, what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Value>) -> T {
        let begin = Instant::now();
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) if begin.elapsed() > PATIENCE => {
                    panic!("{what}: {}; the page's text:\n{}", error["message"], self.text().await)
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    pub(super) async fn go(&self, url: &str) {
        self.call("/url", json!({ "url": url })).await.unwrap();
    }

    /// Visible text of the page.
    pub(super) async fn text(&self) -> String {
        let script = "return document.body ? document.body.innerText : ''";
        let text = self.script(script, json!([])).await.unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    pub(super) async fn title(&self) -> String {
        let title = self.script("return document.title", json!([])).await.unwrap();
        title.as_str().unwrap().to_owned()
    }

    /// Sends a key to the focused element.
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

    /// Waits for a page whose title starts with this.
    pub(super) async fn until_title(&self, title: &str) {
        let look = async || {
            // While a page loads, the title is present before the rest.
            let now = self.script("return document.readyState === 'complete' ? document.title : ''", json!([])).await?;
            if now.as_str().is_some_and(|now| now.starts_with(title)) { Ok(()) } else { Err(json!({ "message": now })) }
        };
        self.until(&format!("no page {title:?}"), look).await;
    }

    /// Waits until this many elements match.
    pub(super) async fn until_count(&self, xpath: &str, count: usize) {
        let look = async || {
            let texts = self.read_all(xpath).await?;
            if texts.len() == count { Ok(()) } else { Err(json!({ "message": texts })) }
        };
        self.until(&format!("not {count} of {xpath}"), look).await;
    }

    /// Texts of all matching elements.
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

    /// Waits for the response to a form of the simulated Entra, which redirects to the changed card.
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

    /// Opens another tab with the same cookies and switches to it. Returns its handle.
    pub(super) async fn new_tab(&self) -> String {
        let tab = self.call("/window/new", json!({ "type": "tab" })).await.unwrap();
        let tab = tab["handle"].as_str().unwrap().to_owned();
        self.show_tab(&tab).await;
        tab
    }

    /// Handle of the current tab.
    pub(super) async fn tab(&self) -> String {
        let response = self.http.get(format!("{}/window", self.session)).send().await.unwrap();
        let answer: Value = response.json().await.unwrap();
        answer["value"].as_str().unwrap().to_owned()
    }

    pub(super) async fn show_tab(&self, tab: &str) {
        self.call("/window", json!({ "handle": tab })).await.unwrap();
    }

    /// Deletes all cookies: signs out here and at the simulated Entra.
    pub(super) async fn forget(&self) {
        self.devtools("Network.clearBrowserCookies", json!({})).await;
    }

    /// Messages in the browser's console, without those for error status codes.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", json!({ "type": "browser" })).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.iter().map(text).filter(|line| !line.contains("the server responded with a status of")).collect()
    }

    /// Closes the browser gracefully; dropping kills it.
    pub(super) async fn quit(self) {
        let _ = self.http.delete(&self.session).send().await;
    }
}
