//! A headless Chromium, driven through its DevTools protocol.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Longest wait for anything: software rendering on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(120);

/// The Chromium that all tests of this process share: to start one takes longer than most tests.
struct Chromium {
    port: u16,
    path: String,
    /// Chromium ends once this one's input is closed, be it by the death of the process that tests.
    _process: Child,
}

/// None where there is no Chromium.
static CHROMIUM: LazyLock<Option<Chromium>> = LazyLock::new(Chromium::start);

impl Chromium {
    fn start() -> Option<Self> {
        let program = program()?;
        let profile = tempfile::tempdir().unwrap().keep();
        // Chromium takes commands from descriptor 3 too, and ends when nobody is left to give any. Then
        // its profile goes as well: values of a static are not dropped.
        let process = Command::new("sh")
            .args(["-c", r#""$@" 3<&0 4>/dev/null 0</dev/null; rm -rf -- "$0""#])
            .arg(&profile)
            .arg(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--use-angle=swiftshader",
                "--enable-unsafe-swiftshader",
                "--hide-scrollbars",
                // No page waits for being in front.
                "--disable-renderer-backgrounding",
                "--disable-backgrounding-occluded-windows",
                "--disable-background-timer-throttling",
                "--remote-debugging-pipe",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (port, path) = endpoint(&profile);
        Some(Self {
            port,
            path,
            _process: process,
        })
    }
}

/// An open page, with cookies, cache and window of its own.
pub(crate) struct Browser {
    socket: WebSocket<TcpStream>,
    session: Value,
    calls: u64,
    /// What the page complained of: exceptions, errors on the console, refused requests.
    complaints: Vec<String>,
}

impl Browser {
    /// Opens a page in Chromium, or says that there is none, in which case the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let Some(chromium) = &*CHROMIUM else {
            eprintln!("skipped: no Chromium on PATH");
            return None;
        };
        let stream = TcpStream::connect(("127.0.0.1", chromium.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let address = format!("ws://127.0.0.1:{}{}", chromium.port, chromium.path);
        let (socket, _) = tungstenite::client(address, stream).unwrap();
        let mut browser = Self {
            socket,
            session: Value::Null,
            calls: 0,
            complaints: Vec::new(),
        };
        // It goes with its pages when this connection does.
        let context = browser.call("Target.createBrowserContext", json!({ "disposeOnDetach": true }));
        let target = json!({
            "url": "about:blank",
            "newWindow": true,
            "browserContextId": context["browserContextId"],
        });
        let target = browser.call("Target.createTarget", target);
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({}));
        }
        // Each page takes itself for the one that has the focus.
        browser.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }));
        Some(browser)
    }

    /// Opens an HTML file and waits until its first automaton is there.
    pub(crate) fn open(&mut self, file: &Path) {
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", json!({ "url": url }));
        let start = Instant::now();
        while self.evaluate("document.readyState === 'complete' && typeof NCA === 'object'") != json!(true) {
            assert!(
                start.elapsed() < PATIENCE,
                "the page does not load: {:?}",
                self.complaints
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.evaluate("NCA.started.then(() => true)");
    }

    /// The value of a script's expression; a promise is awaited.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", parameters);
        if let Some(exception) = answer.get("exceptionDetails") {
            panic!("{expression}\n{exception:#}");
        }
        answer["result"]["value"].clone()
    }

    /// Bytes that `expression`, a typed array, holds.
    pub(crate) fn bytes(&mut self, expression: &str) -> Vec<u8> {
        let text = self.evaluate(&format!(
            "(async () => {{
                const array = await ({expression});
                const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
                let text = '';
                for (let i = 0; i < bytes.length; i += 8192) {{
                    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
                }}
                return btoa(text);
            }})()"
        ));
        BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
    }

    /// Numbers that `expression`, a `Float32Array`, holds.
    pub(crate) fn floats(&mut self, expression: &str) -> Vec<f32> {
        let bytes = self.bytes(expression);
        let words = bytes.as_chunks::<4>().0;
        words.iter().map(|&word| f32::from_le_bytes(word)).collect()
    }

    /// Shows the page in a window of this size, in light or dark colours.
    pub(crate) fn window(&mut self, width: u32, height: u32, dark: bool) {
        let mobile = width < 600;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.media(&[("prefers-color-scheme", if dark { "dark" } else { "light" })]);
    }

    /// Sets media features, as `("prefers-reduced-motion", "reduce")`.
    pub(crate) fn media(&mut self, features: &[(&str, &str)]) {
        let features: Vec<_> = features
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Waits until `condition` holds.
    pub(crate) fn wait_for(&mut self, condition: &str) {
        let start = Instant::now();
        while self.evaluate(condition) != json!(true) {
            assert!(start.elapsed() < PATIENCE, "never: {condition}; {:?}", self.complaints);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clicks into the middle of an element, as a mouse does.
    pub(crate) fn click(&mut self, selector: &str) {
        self.drag(selector, (0.5, 0.5), (0.5, 0.5));
    }

    /// Presses the mouse's button at a point given in parts of an element, moves it and lets go.
    pub(crate) fn drag(&mut self, selector: &str, from: (f64, f64), to: (f64, f64)) {
        const MOVES: u32 = 4;
        let area = self.evaluate(&format!(
            "(async () => {{
                const element = document.querySelector('{selector}');
                // What still moves the page first, such as a picture that has just been unpacked.
                const frame = () => new Promise(requestAnimationFrame);
                await frame();
                element.scrollIntoView({{ block: 'nearest', behavior: 'instant' }});
                await frame();
                const {{ left, top, width, height }} = element.getBoundingClientRect();
                const middle = document.elementFromPoint(left + width / 2, top + height / 2);
                if (!element.contains(middle) && !middle?.contains(element)) {{
                    throw new Error(`{selector} is covered by ${{middle?.outerHTML.slice(0, 200)}}, at ${{left}} ${{top}}`);
                }}
                return [left, top, width, height];
            }})()"
        ));
        let area: [f64; 4] = serde_json::from_value(area).unwrap();
        let mut mouse = |kind: &str, t: f64, buttons: u32| {
            let part = |a: f64, b: f64| a + t * (b - a);
            let (x, y) = (
                area[0] + part(from.0, to.0) * area[2],
                area[1] + part(from.1, to.1) * area[3],
            );
            let button = if kind == "mouseMoved" && buttons == 0 {
                "none"
            } else {
                "left"
            };
            let event = json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        };
        mouse("mouseMoved", 0.0, 0);
        mouse("mousePressed", 0.0, 1);
        if from != to {
            for i in 1..=MOVES {
                mouse("mouseMoved", f64::from(i) / f64::from(MOVES), 1);
            }
        }
        mouse("mouseReleased", 1.0, 0);
    }

    /// Presses a key: a character, or a name as `ArrowLeft`.
    pub(crate) fn key(&mut self, key: &str) {
        let text = match key {
            "Enter" => Some("\r"),
            key if key.chars().count() == 1 => Some(key),
            _ => None,
        };
        let mut down = json!({ "type": if text.is_some() { "keyDown" } else { "rawKeyDown" }, "key": key });
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        // Buttons listen to codes, not to characters.
        let code = match key {
            " " => 32,
            "Enter" => 13,
            _ => 0,
        };
        down["windowsVirtualKeyCode"] = json!(code);
        self.call("Input.dispatchKeyEvent", down);
        self.call(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// Seconds of processor time that the page's thread has taken since `Performance.enable`.
    pub(crate) fn processor_seconds(&mut self) -> f64 {
        let answer = self.call("Performance.getMetrics", json!({}));
        let metrics = answer["metrics"].as_array().unwrap();
        let task = metrics.iter().find(|metric| metric["name"] == "TaskDuration").unwrap();
        task["value"].as_f64().unwrap()
    }

    /// A picture of the window; kept as `NAME.png` where `NCA_PAGE_OUT` names a folder to look into.
    pub(crate) fn picture(&mut self, name: &str) -> image::RgbImage {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let png = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        if let Some(folder) = std::env::var_os("NCA_PAGE_OUT") {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), &png).unwrap();
        }
        image::load_from_memory(&png).unwrap().into_rgb8()
    }

    /// Replaces what a field says, and leaves it.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.evaluate(&format!(
            "document.querySelector('{selector}').focus(); document.activeElement.select()"
        ));
        if text.is_empty() {
            self.evaluate("document.execCommand('delete')");
        } else {
            self.call("Input.insertText", json!({ "text": text }));
        }
        self.evaluate("document.activeElement.blur()");
    }

    /// Chooses an option of a list.
    pub(crate) fn choose(&mut self, selector: &str, value: &str) {
        self.evaluate(&format!(
            "(() => {{
                const list = document.querySelector('{selector}');
                list.value = '{value}';
                if (list.value !== '{value}') throw new Error('{selector} has no {value}');
                list.dispatchEvent(new Event('change', {{ bubbles: true }}));
            }})()"
        ));
    }

    /// What the page complained of since the last call.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // A call's answer comes after the events before it.
        self.evaluate("0");
        std::mem::take(&mut self.complaints)
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method });
        message["params"] = parameters;
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == json!(self.calls) {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    fn hear(&mut self, event: &Value) {
        let parameters = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(parameters["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if parameters["type"] == "error" => Some(parameters["args"].to_string()),
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => Some(parameters["entry"].to_string()),
            // A page that is complete in itself asks for nothing but itself.
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                let own = ["file:", "data:", "blob:", "about:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme));
                (!own).then(|| format!("a request for {url}"))
            }
            _ => None,
        };
        self.complaints.extend(complaint);
    }
}

/// Chromium, by one of the names it goes by.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Port and path of the protocol, which Chromium writes into its profile once it listens.
fn endpoint(profile: &Path) -> (u16, String) {
    let start = Instant::now();
    loop {
        match std::fs::read_to_string(profile.join("DevToolsActivePort")) {
            Ok(text) => {
                if let Some((port, path)) = text.split_once('\n')
                    && let Ok(port) = port.parse()
                    && path.starts_with('/')
                {
                    return (port, path.trim().to_owned());
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
        assert!(start.elapsed() < PATIENCE, "Chromium does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}
