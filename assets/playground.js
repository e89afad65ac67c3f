/* Two models answer the same question side by side, word by word; the talk is kept in this browser tab. */
(() => {
  const { el, get, send, post, number, note } = window.Page;
  const KEY = "studio-talk";
  const SETTINGS = [
    ["temperature", "Temperature", 0, "0 always takes the likeliest word; 0.7 is lively.", 0, 2, 0.1],
    ["top_p", "Top-p", 1, "Draw only from the likeliest words that make up this share.", 0.05, 1, 0.05],
    ["top_k", "Top-k", 0, "Draw only from this many words; 0 means all.", 0, 1000, 1],
    ["repetition_penalty", "Repetition penalty", 1, "Above 1 avoids words already used.", 1, 2, 0.05],
    ["max_tokens", "Longest answer, in tokens", 96, "", 1, 4096, 1],
    ["seed", "Seed", "", "A number makes a drawn answer repeatable.", 0, 2147483647, 1],
  ];
  const ABOUT = "Gives answers a score: higher is better. Compare only answers to the same question.";
  const CUT_OFF = "The studio went away before the answer was whole. Try again in a moment.";
  const inWords = (error) => `${error.message} ${error.hint ?? ""}`.trim();
  class Playground {
    constructor(element) {
      this.element = element;
      const kept = this.remembered(),
        asked = new URLSearchParams(location.search);
      this.models = [asked.get("a") ?? kept.models?.[0] ?? "starter", asked.get("b") ?? kept.models?.[1] ?? null];
      this.talks = kept.talks ?? [[], []];
      this.system = kept.system ?? "";
      this.settings = kept.settings ?? {};
      this.talks = this.talks.map((talk, n) => (!kept.models || kept.models[n] === this.models[n] ? talk : []));
      this.begin();
    }
    remembered() {
      try {
        return JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
      } catch {
        return {};
      }
    }
    async begin() {
      let found;
      try {
        found = await get("/studio/models");
      } catch (error) {
        this.element.replaceChildren(note(error.status ? error : new Error("The studio does not answer. Asking again…")));
        setTimeout(() => this.begin(), 2000);
        return;
      }
      this.models[1] ??= found.models[1]?.id ?? "";
      this.judges = new Set(found.models.filter((m) => m.scores).map((m) => m.id));
      this.build(found.models);
    }
    build(models) {
      this.sides = [0, 1].map((side) => {
        const list = el(
          "select",
          {
            "aria-label": side ? "Right model" : "Left model",
            id: `model-${side}`,
            onchange: (e) => {
              this.choose(side, e.target.value);
            },
          },
          side ? el("option", { value: "" }, "none") : "",
          models.map((m) => el("option", { value: m.id, selected: m.id === this.models[side] }, m.label)),
        );
        if (this.models[side] && !models.some((m) => m.id === this.models[side]))
          list.append(el("option", { value: this.models[side], selected: true }, this.models[side]));
        const log = el("div", { class: "turns", "aria-live": "polite" });
        return { list, log, box: el("section", { class: "side" }, list, log) };
      });
      this.system_box = el("textarea", {
        rows: "2",
        id: "system",
        "aria-label": "System prompt",
        placeholder: "System prompt (optional)",
        oninput: (e) => {
          this.system = e.target.value;
          this.keep();
        },
      });
      this.system_box.value = this.system;
      const settings = SETTINGS.map(([name, label, usual, hint, min, max, step]) =>
        el(
          "label",
          { class: "setting" },
          el("span", {}, label),
          el("input", {
            type: "number",
            name,
            min,
            max,
            step,
            value: String(this.settings[name] ?? usual),
            oninput: (e) => {
              this.settings[name] = e.target.value;
              this.keep();
            },
          }),
          hint ? el("small", {}, hint) : "",
        ),
      );
      this.input = el("textarea", {
        rows: "2",
        id: "question",
        "aria-label": "Your message",
        onkeydown: (e) => {
          if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
            e.preventDefault();
            this.send();
          }
        },
      });
      this.answer = el("textarea", {
        rows: "2",
        id: "answer",
        "aria-label": "The answer to score",
        placeholder: "The answer to score",
      });
      this.go = el(
        "button",
        { type: "button", class: "st-button main", id: "send", onclick: () => (this.busy ? this.stop() : this.send()) },
        "Send",
      );
      this.memory = el(
        "button",
        { type: "button", class: "st-button", id: "give-back", onclick: () => this.release() },
        "Give memory back",
      );
      this.said = el("p", { class: "st-soft", role: "status" });
      this.element.replaceChildren(
        el(
          "details",
          { class: "talk-settings" },
          el("summary", {}, "System prompt and sampling"),
          this.system_box,
          el("div", { class: "settings-grid" }, settings),
        ),
        el(
          "div",
          { class: "sides" },
          this.sides.map((s) => s.box),
        ),
        el(
          "div",
          { class: "ask" },
          this.input,
          this.answer,
          el(
            "div",
            { class: "st-actions" },
            this.go,
            el(
              "button",
              {
                type: "button",
                class: "st-button",
                id: "clear",
                onclick: () => {
                  this.stop();
                  this.talks = [[], []];
                  this.draw();
                },
              },
              "New talk",
            ),
            this.memory,
          ),
        ),
        this.said,
      );
      this.draw();
    }
    choose(side, model) {
      this.models[side] = model;
      this.talks[side] = [];
      const address = new URL(location.href); // else a reload would bring back what the link asked for
      for (const [n, key] of ["a", "b"].entries()) address.searchParams.set(key, this.models[n]);
      history.replaceState(history.state, "", address);
      this.draw();
    }
    keep() {
      sessionStorage.setItem(
        KEY,
        JSON.stringify({ models: this.models, talks: this.talks, system: this.system, settings: this.settings }),
      );
    }
    draw() {
      this.sides.forEach((s, n) => {
        const about = this.judges.has(this.models[n]) ? [el("p", { class: "st-soft about-scores" }, ABOUT)] : [];
        s.log.replaceChildren(...about, ...this.talks[n].map((turn) => this.turn(turn)));
        s.box.classList.toggle("off", !this.models[n]);
      });
      const active = this.models.filter(Boolean),
        alone = active.length > 0 && active.every((id) => this.judges.has(id)), // nobody writes: the answer is typed as well
        asked = alone ? "The question" : active.length > 1 && !active.some((id) => this.judges.has(id)) ? "Ask both…" : "Ask…";
      this.input.placeholder = `${asked} (Enter sends, Shift+Enter makes a new line)`;
      this.answer.hidden = !alone;
      if (!this.busy) this.go.textContent = alone ? "Score" : "Send";
      this.keep();
    }
    turn(turn) {
      turn.node = el(
        "div",
        { class: `turn ${turn.role}`, dir: "auto" },
        turn.given ? el("q", {}, turn.given) : "",
        el("span", { class: "text" }, turn.content),
        turn.facts ? el("small", {}, turn.facts) : "",
      );
      Object.defineProperty(turn, "node", { enumerable: false });
      return turn.node;
    }
    async send() {
      const text = this.input.value.trim(),
        given = this.answer.hidden ? "" : this.answer.value.trim();
      if (!text || this.busy) return;
      if (!this.answer.hidden && !given) {
        this.said.textContent = "Type the answer to score as well.";
        return this.answer.focus();
      }
      this.input.value = "";
      const sides = [0, 1].filter((n) => this.models[n]),
        writer = sides.find((n) => !this.judges.has(this.models[n]));
      const asked = sides.map((n) => {
        // a question that got no answer is left out with it: templates want the two to take turns
        const whole = this.talks[n].filter((t, i, all) => {
          const answer = t.role === "user" ? all[i + 1] : t;
          return answer?.content && !answer.failed;
        });
        this.talks[n].push({ role: "user", content: text });
        const sent = [...whole, { role: "user", content: text }].map(({ role, content }) => ({ role, content }));
        this.talks[n].push({ role: "assistant", content: "", given });
        return this.system.trim() ? [{ role: "system", content: this.system.trim() }, ...sent] : sent;
      });
      // a model that scores reads the writer's talk, whose answer it is given; alone, what was typed
      const typed = [{ role: "user", content: text }, ...(given ? [{ role: "assistant", content: given }] : [])];
      const messages = sides.map((n, i) =>
        !this.judges.has(this.models[n]) ? asked[i] : writer == null ? typed : asked[sides.indexOf(writer)],
      );
      this.draw();
      this.busy = new AbortController();
      this.go.textContent = "Stop";
      this.said.textContent = "The first answer loads the models…";
      const settings = Object.fromEntries(SETTINGS.map(([name, , usual]) => [name, this.settings[name] ?? usual]));
      try {
        await this.stream(
          { id: crypto.randomUUID?.() ?? String(Date.now()), models: sides.map((n) => this.models[n]), messages, settings },
          sides,
        );
        this.said.textContent = "";
      } catch (error) {
        const stopped = error.name === "AbortError",
          heard = sides.some((n) => this.talks[n].at(-1)?.content);
        this.said.textContent = stopped ? "Stopped." : inWords(error);
        if (!heard && !this.input.value) {
          // nothing came: the question goes back into its box
          this.input.value = text;
          for (const n of sides) this.talks[n].splice(-2);
        }
      }
      this.busy = null;
      this.draw();
    }
    async stream(question, sides) {
      const answer = await send("/studio/chat", question, this.busy.signal);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = ""; ;) {
        const { done, value } = await reader.read().catch((error) => {
          throw error.name === "AbortError" ? error : new Error(CUT_OFF);
        });
        if (done) return;
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) this.heard(JSON.parse(line), sides);
      }
    }
    heard(message, sides) {
      if (message.side == null) return;
      const turn = this.talks[sides[message.side]].at(-1);
      if (!turn) return;
      if (message.type === "text") {
        turn.content += message.text;
        turn.node.querySelector(".text").textContent = turn.content;
        this.said.textContent = "";
      }
      if (message.type === "error") {
        turn.failed = true;
        turn.content = `${message.message} ${message.hint}`;
        turn.node.classList.add("failed");
        turn.node.querySelector(".text").textContent = turn.content;
      }
      if (message.type === "score") {
        turn.content = `Score ${message.score >= 0 ? "+" : ""}${message.score.toFixed(2)}`;
        turn.node.querySelector(".text").textContent = turn.content;
        this.said.textContent = "";
      }
      if (message.type === "end") {
        turn.facts = `${message.tokens} tokens, ${number(message.tokens / Math.max(message.seconds, 0.001))} a second`;
        turn.node.append(el("small", {}, turn.facts));
      }
    }
    stop() {
      this.busy?.abort();
    }
    async release() {
      this.stop();
      try {
        await post("/studio/chat/close");
        this.said.textContent = "The models were let go; their memory is free.";
      } catch (error) {
        this.said.textContent = inWords(error);
      }
    }
  }
  window.Playground = { mount: (element) => new Playground(element) };
})();
