"""A teacher that is asked over the network, at any server with an OpenAI-compatible chat API.

The key is read from the environment (engine/keys.py), goes into one header and nowhere else: whatever a server says is cleared
of it before it is shown.
"""

from __future__ import annotations

import ipaddress
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from engine.errors import ModelError
from engine.keys import TEACHER as KEYS
from engine.keys import teachers
from engine.worker.reporter import Reporter
from engine.worker.rows import Row
from engine.worker.teachers import Answer

# Requests at a time, tries for each, seconds before the second try (twice as long before each further one), the longest
# wait, and the seconds that one answer may take.
_AT_ONCE, _TRIES, WAIT_S, _LONGEST_WAIT_S, _ANSWER_S = 4, 6, 1.0, 60.0, 180.0
# Too many requests, or a server in trouble: the same request may succeed later.
_PASSING = frozenset({408, 409, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class EndpointTeacher:
    """The model called `name` at `address`. Gives answers, and no guesses."""

    together = False

    def __init__(self, address: str, name: str, reporter: Reporter) -> None:
        self.address, self.name, self.reporter = address, name, reporter
        self.key = teachers(address)
        # redirects are not followed, since a key must not follow them
        self.client = httpx.Client(timeout=httpx.Timeout(_ANSWER_S, connect=20.0), follow_redirects=False)
        self.limit_name = "max_tokens"
        if self.key and address.startswith("http:") and not _is_near(address):
            reporter.warn("The key goes to the teacher unencrypted.", "Use an https address where there is one.")

    def release(self) -> None:
        self.client.close()

    def answers(self, asked: Sequence[tuple[int, Row]], most: int, temperature: float) -> Iterator[tuple[int, Answer]]:
        """The answers in the order in which they come.

        Raises:
            ModelError: the server refuses, or stays in trouble; answers that were under way are given first.
        """
        asking = _Asking(self, asked, most, temperature)
        try:
            yield from asking.found()
        finally:
            asking.over.set()

    def ask(self, row: Row, most: int, temperature: float, over: threading.Event) -> Answer:
        """One answer, tried again while the trouble may pass; gives up at once when `over` is set."""
        trouble, wait = "", WAIT_S
        for left in reversed(range(_TRIES)):
            asked_to_wait = 0.0
            try:
                reply = self._post(row, most, temperature)
                if reply.status_code == 200:
                    return _read(reply)
                if reply.status_code not in _PASSING:
                    raise self._refusal(reply)
                trouble, asked_to_wait = f"it answers with {reply.status_code}{self._words(reply)}", _retry_after(reply)
            except httpx.TimeoutException:
                trouble = "it takes too long"
            except httpx.TransportError as error:
                trouble = f"it cannot be reached ({type(error).__name__})"
            except (ValueError, KeyError, IndexError, TypeError):
                trouble = "what it sends is no chat answer in JSON"
            if not left or over.wait(min(max(wait, asked_to_wait), _LONGEST_WAIT_S)):
                break
            wait *= 2
        raise ModelError(
            f"The teacher at {self.address} does not answer: {trouble}, {_TRIES} times in a row.",
            hint="Look whether the server is well. The answers so far are kept: resume the run, and it asks for the rest.",
        )

    def _post(self, row: Row, most: int, temperature: float) -> httpx.Response:
        prompt = row["prompt"]
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        body = {
            "model": self.name,
            "messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns],
            "temperature": temperature,
        }
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        url = f"{self.address}/chat/completions"
        reply = self.client.post(url, json={**body, self.limit_name: most}, headers=headers)
        if reply.status_code == 400 and self.limit_name == "max_tokens" and "max_completion_tokens" in reply.text:
            self.limit_name = "max_completion_tokens"  # the newer name, which some servers insist on
            reply = self.client.post(url, json={**body, self.limit_name: most}, headers=headers)
        return reply

    def _refusal(self, reply: httpx.Response) -> ModelError:
        code, said = reply.status_code, self._words(reply)
        if code in (401, 403):
            wants = "refuses the key" if self.key else "wants a key"
            hint = f"Put the right key into the environment variable {KEYS[0]} of the studio, and resume the run."
            if not self.key and os.environ.get(KEYS[1]):
                hint += f" {KEYS[1]} is sent to https://api.openai.com alone."
            return ModelError(f"The teacher at {self.address} {wants} ({code}{said}).", hint=hint)
        if code == 404:
            return ModelError(
                f"There is no {self.address}/chat/completions, or no model {self.name} there (404{said}).",
                hint="The address usually ends with /v1; the model's name is as the server lists it at /models.",
            )
        return ModelError(
            f"The teacher at {self.address} refuses the request ({code}{said}).",
            hint="What the server says tells why: often a name, a length or a temperature that this model does not take.",
        )

    def _words(self, reply: httpx.Response) -> str:
        """What the server said of its trouble, short and without the key."""
        try:
            told = reply.json()["error"]
            said = str(told["message"] if isinstance(told, dict) else told)
        except (ValueError, KeyError, TypeError):
            said = reply.text
        said = " ".join((said.replace(self.key, "…") if self.key else said).split())[:200]
        return f": {said}" if said else ""


class _Asking:
    """A few threads that ask for some rows. They are daemons: whoever stops a run does not wait for a server."""

    def __init__(self, teacher: EndpointTeacher, asked: Sequence[tuple[int, Row]], most: int, temperature: float) -> None:
        self.teacher, self.most, self.temperature = teacher, most, temperature
        self.waiting: queue.SimpleQueue[tuple[int, Row]] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[int, Answer | Exception]] = queue.SimpleQueue()
        self.over = threading.Event()
        for each in asked:
            self.waiting.put(each)
        self.threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(_AT_ONCE, len(asked)))]
        for thread in self.threads:
            thread.start()

    def found(self) -> Iterator[tuple[int, Answer]]:
        """Every answer; the first failure once the threads have given what they were at."""
        failure: Exception | None = None
        while any(thread.is_alive() for thread in self.threads) or not self.done.empty():
            self.teacher.reporter.heed_stop()
            try:
                number, answer = self.done.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(answer, Exception):
                failure = failure or answer
                self.over.set()
            else:
                yield number, answer
        if failure is not None:
            raise failure

    def _work(self) -> None:
        while not self.over.is_set():
            try:
                number, row = self.waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self.done.put((number, self.teacher.ask(row, self.most, self.temperature, self.over)))
            except Exception as error:  # handed over to the run, which ends with it
                self.done.put((number, error))


def _read(reply: httpx.Response) -> Answer:
    choice = reply.json()["choices"][0]
    content: Any = choice["message"].get("content") or ""
    if isinstance(content, list):
        content = "".join(part.get("text") or "" for part in content)
    return Answer(str(content).strip(), [], choice.get("finish_reason") != "length")


def _retry_after(reply: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 when it names none or a date."""
    try:
        return max(0.0, float(reply.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def _is_near(address: str) -> bool:
    """Whether the address is on this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
