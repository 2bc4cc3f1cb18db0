"""Chromium without a window, driven as its own tools drive it: the DevTools protocol on a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECONDS = 60.0
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}


class Browser:
    """One process; `open` is another tab. Skips the test where there is no Chromium."""

    def __init__(self, folder: Path, *flags: str) -> None:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
        if program is None:
            pytest.skip("chromium is not installed: apt-get install chromium")
        theirs, self._to = os.pipe()
        self._from, back = os.pipe()

        def hand_over() -> None:  # it reads from 3 and writes to 4
            reading, writing = os.dup(theirs), os.dup(back)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self._process = subprocess.Popen(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *("--disable-dev-shm-usage", "--remote-debugging-pipe", "--lang=en-US"),
                *(f"--user-data-dir={folder}", "--no-first-run", "--no-proxy-server", *flags),
            ],
            preexec_fn=hand_over,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TZ": "UTC"},
        )
        os.close(theirs)
        os.close(back)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def save_to(self, folder: Path) -> None:
        """Where what a page saves is put."""
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def send(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            asked["sessionId"] = session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            told = self._read(end)
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def _read(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], end - time.monotonic())
            assert ready, "the browser does not answer"
            piece = os.read(self._from, 1 << 20)
            assert piece, "the browser has ended"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        return told

    def open(self, url: str) -> Page:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, attached["sessionId"], target)
        page.send("Page.enable")
        page.send("Runtime.enable")
        page.send("Log.enable")
        page.size(1200, 800)
        page.go(url)
        return page


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target

    def close(self) -> None:
        self._browser.send("Target.closeTarget", targetId=self._target)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.send(method, self._session, **parameters)

    def go(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def run(self, script: str) -> Any:
        """The value of an expression, once it has one."""
        done = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str) -> None:
        end = time.monotonic() + SECONDS
        while not self.run(f"Boolean({script})"):
            assert time.monotonic() < end, f"never: {script}\n{self.run('document.body.innerText')}"
            time.sleep(0.05)

    def text(self) -> str:
        found: str = self.run("document.body.innerText")
        return found

    def press(self, key: str) -> None:
        common: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key}
        common |= {"windowsVirtualKeyCode": _KEYS[key]}
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {} if text is None else {"text": text}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def focus(self) -> str:
        """What has the focus, in words."""
        found: str = self.run(
            "(e => `${e.tagName.toLowerCase()} ${(e.id || e.textContent).trim().slice(0, 60)}`)"
            "(document.activeElement)"
        )
        return found

    def label(self) -> str:
        """What a screen reader calls what has the focus."""
        found: str = self.run("document.activeElement.getAttribute('aria-label') || ''")
        return found

    def tab_to(self, wanted: Callable[[str], bool]) -> str:
        """Press Tab until what has the focus is wanted, at most a hundred times."""
        for _ in range(100):
            self.press("Tab")
            if wanted(found := self.focus()):
                return found
        raise AssertionError("Tab does not lead there")

    def tree(self) -> list[tuple[str, str]]:
        """What a screen reader is told: roles and names."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def picture(self, path: Path) -> bytes:
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(data)
        return data
