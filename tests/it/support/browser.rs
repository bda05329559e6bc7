//! A browser as a person has it: headless Chromium with a profile of its own, driven through chromedriver.
//!
//! Debian's packages `chromium` and `chromium-driver` have both programs; `scripts/test.sh --prepare` installs them. Without them the
//! tests that need a browser fail and say so. One browser at a time: several would starve each other on a small machine.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::in_process::Service;
use super::{PATIENCE, wait_for, wait_until};

/// What Debian and others call the browser.
const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
const CHROMEDRIVER: &[&str] = &["chromedriver"];
/// Where screenshots are put, for people to look at.
const SCREENSHOTS: &str = "target/console-screenshots";
/// The widths that pages are looked at in: a desk and a telephone.
pub(crate) const WIDTHS: [u32; 2] = [1440, 390];
const HEIGHT: u32 = 900;
/// What is further down is not in a picture.
const PICTURE_HEIGHT_MAX: f64 = 4_000.0;

static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// A browser in front of a service.
pub(crate) struct Browser {
    client: Client,
    url: String,
    // Dropped in this order: the driver lets go, the browser ends, then its profile is removed.
    _driver: Group,
    _chromium: Group,
    _profile: TempDir,
    _turn: SemaphorePermit<'static>,
}

/// A program and everything that it starts; killed when dropped, and when this process ends before.
struct Group {
    leader: Child,
    watchdog: Child,
}

impl Group {
    fn start(command: &mut Command) -> Self {
        let leader = command.stdin(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let script = format!("read _ || kill -9 -{}", leader.id());
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { leader, watchdog: watchdog.spawn().unwrap() }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // While the pipe is open the watchdog only waits: the end of it does the killing, here as at the end of this process.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
        let _ = self.leader.wait();
    }
}

fn program(names: &[&str]) -> PathBuf {
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let found = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no {} in PATH: the console is tested in a real browser; scripts/test.sh --prepare installs one",
            names[0]
        )
    })
}

async fn start_chromium(profile: &Path) -> (Group, u16) {
    let mut command = Command::new(program(CHROMIUM));
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.args([
        "--remote-debugging-port=0",
        "--lang=en-US",
        "--force-prefers-reduced-motion",
        "--disable-extensions",
    ]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank").stdout(Stdio::null());
    let group = Group::start(&mut command);
    let written = profile.join("DevToolsActivePort");
    let port = wait_for("chromium listens to its driver", || async {
        std::fs::read_to_string(&written).ok()?.lines().next()?.parse().ok()
    });
    (group, port.await)
}

fn start_driver() -> (Group, u16) {
    let mut command = Command::new(program(CHROMEDRIVER));
    let mut group = Group::start(command.arg("--port=0").stdout(Stdio::piped()));
    let mut said = BufReader::new(group.leader.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = said.find_map(|line| {
        let (_, port) = line.split_once("started successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    // Whatever else it says is read too: a pipe that nobody reads would end it.
    std::thread::spawn(move || said.for_each(drop));
    (group, port.unwrap_or_else(|| panic!("chromedriver does not say where it listens")))
}

/// A command of chromedriver beyond the standard.
#[derive(Debug)]
struct Vendor {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Vendor {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

impl Browser {
    /// A browser with nothing remembered, as wide as a desk.
    pub(crate) async fn before(service: &Service) -> Self {
        let turn = ONE_AT_A_TIME.acquire().await.unwrap();
        let profile = tempfile::tempdir().unwrap();
        let (chromium, debugger) = start_chromium(profile.path()).await;
        let (driver, port) = start_driver();
        let wishes = json!({
            "goog:chromeOptions": { "debuggerAddress": format!("127.0.0.1:{debugger}") },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(wishes) = wishes else { unreachable!() };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(wishes).connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let browser = Self {
            client,
            url: service.url(""),
            _driver: driver,
            _chromium: chromium,
            _profile: profile,
            _turn: turn,
        };
        // A bar for scrolling takes its width from the page only while the page is long.
        browser.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
        browser.be_wide(WIDTHS[0]).await;
        browser
    }

    /// The same, logged in with a token.
    pub(crate) async fn logged_in(service: &Service, token: &str) -> Self {
        let browser = Self::before(service).await;
        browser.open("/").await;
        browser.fill("input[name=token]", token).await;
        browser.click("button[type=submit]").await;
        browser.sees("nav.places").await;
        browser
    }

    async fn vendor(&self, path: &'static str, body: Value) -> Value {
        self.client.issue_cmd(Vendor { path, body }).await.unwrap()
    }

    /// Asks the browser itself, in its own protocol.
    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.vendor("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Makes the window this wide.
    pub(crate) async fn be_wide(&self, width: u32) {
        let shape =
            json!({ "width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", shape).await;
    }

    /// Says that the machine is set to dark or light.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// Takes the network from the page, or gives it back.
    pub(crate) async fn be_offline(&self, offline: bool) {
        let line =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.devtools("Network.enable", json!({})).await;
        self.devtools("Network.emulateNetworkConditions", line).await;
    }

    /// Goes to a page.
    pub(crate) async fn open(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.url)).await.unwrap();
    }

    /// Where it is.
    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// What a script answers.
    pub(crate) async fn ask(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until something is shown.
    pub(crate) async fn sees(&self, selector: &str) {
        let quoted = json!(selector);
        self.holds(
            &format!("{selector} is shown"),
            &format!(
                "const e = document.querySelector({quoted}); return Boolean(e && e.getClientRects().length)"
            ),
        )
        .await;
    }

    /// Waits until a text is shown somewhere.
    pub(crate) async fn reads(&self, text: &str) {
        let quoted = json!(text);
        self.holds(
            &format!("{text:?} is shown"),
            &format!("return document.body.innerText.includes({quoted})"),
        )
        .await;
    }

    /// Waits until a script answers true; panics with what the page shows instead.
    pub(crate) async fn holds(&self, what: &str, script: &str) {
        let asked = async || self.ask(script).await == Value::Bool(true);
        let shown = wait_until(PATIENCE, || async { asked().await.then_some(()) }).await;
        if shown.is_none() {
            let text = self.ask("return document.body.innerText").await;
            let complaints = self.complaints().await;
            panic!(
                "waited {PATIENCE:?} in vain: {what}; {} shows\n{text}\n{complaints:#?}",
                self.path().await
            );
        }
    }

    /// Waits until what was changed last has been drawn.
    async fn is_drawn(&self) {
        self.ask("return new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(() => drawn(null))))")
            .await;
    }

    /// Clicks at the first thing that fits, when it is there and may be clicked. What is drawn anew in between is looked for again.
    pub(crate) async fn click(&self, selector: &str) {
        self.sees(&format!("{selector}:not(:disabled)")).await;
        wait_for(&format!("{selector} is clicked"), || async {
            self.client.find(Locator::Css(selector)).await.ok()?.click().await.ok()
        })
        .await;
    }

    /// Types into a field in place of what is there, as a person does: all of it is selected, and what is typed replaces it. WebDriver's
    /// own "clear" empties a field behind the page's back; a page that draws itself before the first letter puts the old text back.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.sees(selector).await;
        let quoted = json!(selector);
        let selected = format!(
            "const field = document.querySelector({quoted}); field.focus(); field.select(); return field.value"
        );
        let typed = if text.is_empty() { String::from(char::from(Key::Backspace)) } else { text.to_owned() };
        wait_for(&format!("{selector} holds {text:?}"), || async {
            let before = self.ask(&selected).await;
            if before != text {
                self.client.find(Locator::Css(selector)).await.ok()?.send_keys(&typed).await.ok()?;
            }
            (self.ask(&selected).await == text).then_some(())
        })
        .await;
    }

    /// Chooses a value of a list.
    pub(crate) async fn choose(&self, selector: &str, value: &str) {
        // Its values may come later than the list itself.
        self.sees(selector).await;
        self.holds(
            &format!("{selector} offers {value}"),
            &format!(
                "return [...document.querySelector({}).options].some(o => o.value === {})",
                json!(selector),
                json!(value)
            ),
        )
        .await;
        let (list, value) = (json!(selector), json!(value));
        self.ask(&format!(
            "const list = document.querySelector({list}); list.value = {value}; list.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ))
        .await;
    }

    /// What the clipboard holds.
    pub(crate) async fn copied(&self) -> String {
        let rights =
            json!({ "origin": self.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.devtools("Browser.grantPermissions", rights).await;
        self.ask("return navigator.clipboard.readText()").await.as_str().unwrap().to_owned()
    }

    /// Writes a picture of the whole page, for people to look at.
    pub(crate) async fn photograph(&self, name: &str) {
        self.is_drawn().await;
        let size = self.devtools("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let height = size["height"].as_f64().unwrap().min(PICTURE_HEIGHT_MAX);
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1 });
        let wish = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", wish).await;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCREENSHOTS);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// Everything that the console of the browser complained of since the last look: errors, warnings, violations of the policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.vendor("se/log", json!({ "type": "browser" })).await;
        let grave = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        let entries = entries.as_array().unwrap();
        entries
            .iter()
            .filter(grave)
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Holds the browser to have complained of nothing but these.
    pub(crate) async fn complains_only_of(&self, expected: &[&str]) {
        let complaints = self.complaints().await;
        let unexpected: Vec<_> =
            complaints.iter().filter(|one| !expected.iter().any(|expected| one.contains(expected))).collect();
        assert!(unexpected.is_empty(), "{unexpected:#?}");
    }
}
