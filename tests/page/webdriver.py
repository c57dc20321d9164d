"""A small client of the WebDriver protocol: as much as the checks need, over plain HTTP."""

import base64
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference to an element
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Left": "\ue012", "Up": "\ue013", "Right": "\ue014", "Down": "\ue015"}


def programs():
    """Chromium and chromedriver, or None where one of them is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


class Browser:
    """A headless browser of its own, gone at the end of the block."""

    def __init__(self, chromium, driver):
        self.chromium, self.driver = chromium, driver

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.process = subprocess.Popen(
            [self.driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.root = f"http://127.0.0.1:{port}"
        # The machine's own server: no proxy is asked.
        self.http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            self._await_ready()
            arguments = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,900"]
            arguments += ["--disable-dev-shm-usage", "--force-color-profile=srgb", f"--user-data-dir={self.profile.name}"]
            if hasattr(os, "geteuid") and os.geteuid() == 0:
                arguments.append("--no-sandbox")  # Chromium refuses to run as root with it
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": self.chromium, "args": arguments},
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self.root += f"/session/{answer['sessionId']}"
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", "")
        except OSError:
            pass  # the process ends anyhow
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()

    def _await_ready(self):
        deadline = time.monotonic() + 20
        while True:
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.root + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with self.http.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error

    def open(self, address):
        self._call("POST", "/url", {"url": address})

    def back(self):
        self._call("POST", "/back", {})

    def run(self, script, *arguments):
        """The value of a function's body."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        """What a function's body hands to its last argument."""
        self._call("POST", "/timeouts", {"script": 90000})
        return self._call("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def hover(self, selector):
        """Moves the mouse onto an element, away from everything first."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center', behavior: 'instant'})", selector)
        origin = {ELEMENT: self.find(selector)}
        moves = [
            {"type": "pointerMove", "duration": 0, "x": 0, "y": 0},
            {"type": "pointerMove", "duration": 0, "origin": origin, "x": 0, "y": 0},
        ]
        self._pointer(moves)

    def click(self, selector):
        self.hover(selector)
        self._pointer([{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}])

    def _pointer(self, actions):
        self._call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def press(self, key):
        key = KEYS[key]
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def log(self, kind):
        """The entries since the last call."""
        return self._call("POST", "/se/log", {"type": kind})

    def devtools(self, command, **parameters):
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def appearance(self, scheme, width):
        """`light` or `dark`, so many pixels wide."""
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    def screenshot(self, clip=None):
        """The whole page as PNG, or a rectangle of it."""
        if clip is None:
            size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            # Chromium draws no higher than this.
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16000)}
        answer = self.devtools(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip={**clip, "scale": 1}
        )
        return base64.b64decode(answer["data"])

    def print(self):
        """The page as PDF."""
        return base64.b64decode(self.devtools("Page.printToPDF", printBackground=True)["data"])
